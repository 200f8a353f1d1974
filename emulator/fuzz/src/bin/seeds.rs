//! Writes the seeds of all targets to `corpus/`, from the recorded traffic in `../testdata`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (number, (target, bytes)) in
        emulator_fuzz::seeds(&here.join("../testdata")).iter().enumerate()
    {
        let folder = here.join("corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("seed-{number:04}")), bytes)?;
    }
    Ok(())
}
