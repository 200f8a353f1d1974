//! The program: scenario to plan, brokers, driver, conductor, commands.
