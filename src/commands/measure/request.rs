//! What is asked of the strangers: the flags as a scenario without a fleet, so that every rule of a
//! scenario holds for them, and the result folder shows in the words of a scenario what was asked.

use serde_json::{Map, Value, json};

use super::flags::{MeasureArgs, ModeArg};
use crate::commands::failure::Refusal;
use crate::plan::{self, Plan};
use crate::scenario::{Scenario, ScenarioError, ScenarioErrors};

/// Name of the scenario and of its only entry.
const NAME: &str = "measure";

/// What is asked.
#[derive(Debug)]
pub(super) struct Request {
    /// One entry, no groups.
    pub(super) plan: Plan,
    /// The same as a scenario; JSON is YAML.
    pub(super) scenario_text: String,
}

/// The request that `args` ask for, at these servers.
pub(super) fn of(args: &MeasureArgs, urls: Vec<String>) -> anyhow::Result<Request> {
    let mut scenario = without_empty(json!({
        "version": 1,
        "name": NAME,
        "description": args.description(),
        "brokers": {
            "topology": "external",
            "urls": urls,
            "monitoring": args.watch.monitoring(),
        },
        "client": {"receivers": args.receivers},
        "waves": [wave(args)?],
        "thresholds": thresholds(&args.threshold)?,
    }));
    scenario["fleet"] = json!([]);
    let text = format!("# `choria-emulator measure` asked an existing network\n{scenario:#}\n");
    let scenario = Scenario::parse(&text, NAME, &[]).map_err(of_flags)?;
    Ok(Request { plan: plan::resolve(&scenario)?, scenario_text: text })
}

/// What is wrong, without the place: a person wrote flags and no file.
fn of_flags(errors: ScenarioErrors) -> anyhow::Error {
    let told = |error: ScenarioError| match error.advice.is_empty() {
        true => error.message,
        false => format!("{}\n{}", error.message, error.advice),
    };
    Refusal::usage(errors.0.into_iter().map(told).collect::<Vec<_>>().join("\n"))
}

fn wave(args: &MeasureArgs) -> anyhow::Result<Value> {
    let mode = match args.mode() {
        ModeArg::Broadcast => "broadcast",
        ModeArg::Direct => "direct",
        ModeArg::Batch => "batch",
    };
    let batch = json!({"size": args.batch, "sleep": args.batch_sleep.to_string()});
    Ok(json!({
        "name": NAME,
        "request": request(args)?,
        "mode": mode,
        "batch": Some(batch).filter(|_| args.mode() == ModeArg::Batch),
        "every": args.every.to_string(),
        "count": args.count()?,
        "deadline": args.deadline.to_string(),
        "warmup": args.warmup,
        "clients": args.clients,
    }))
}

/// The agent of a size is the emulated one; else it is what every real server has.
fn request(args: &MeasureArgs) -> anyhow::Result<Value> {
    let size = args.size();
    let (agent, action) = match size {
        Some(_) => ("emulated0", "generate"),
        None => ("rpcutil", "ping"),
    };
    let agent = args.agent.as_deref().unwrap_or(agent);
    let action = args.action.as_deref().unwrap_or(action);
    check_names(agent, action)?;
    let data = match (&args.data, size) {
        (Some(text), _) => object(text)?,
        (None, Some(size)) => Map::from_iter([("size".to_owned(), size.into())]),
        (None, None) => Map::new(),
    };
    Ok(json!({
        "agent": agent,
        "action": action,
        "collective": args.collective,
        "data": data,
        "filter": {
            "identity": args.identity,
            "classes": args.class,
            "facts": args.fact,
            "agents": args.hosts,
            "compound": args.compound,
        },
    }))
}

/// The same without members that say nothing.
fn without_empty(value: Value) -> Value {
    let says_something = |value: &Value| match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    };
    match value {
        Value::Object(map) => {
            let members = map.into_iter().map(|(key, value)| (key, without_empty(value)));
            Value::Object(members.filter(|(_, value)| says_something(value)).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_empty).collect()),
        other => other,
    }
}

fn object(text: &str) -> anyhow::Result<Map<String, Value>> {
    serde_json::from_str(text).map_err(|error| {
        Refusal::usage(format!(
            "--data is no JSON object: {error}\nwrite it as in --data '{{\"size\": 100}}'"
        ))
    })
}

/// Agents and actions are words; an agent is also a part of a subject.
fn check_names(agent: &str, action: &str) -> anyhow::Result<()> {
    for (what, name, like) in [("--agent", agent, "rpcutil"), ("--action", action, "ping")] {
        let word = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if name.is_empty() || !name.chars().all(word) {
            return Err(Refusal::usage(format!(
                "{what} is {name:?}, which is no name\nwrite one word, such as {like}"
            )));
        }
    }
    Ok(())
}

/// What must hold unless something else is asked for: whoever has to answer does.
const EVERYBODY: &str = "completeness: min == 100%";

/// Metric to expressions, in the order of the flags.
fn thresholds(texts: &[String]) -> anyhow::Result<Value> {
    let everybody = [EVERYBODY.to_owned()];
    let texts = if texts.is_empty() { &everybody } else { texts };
    let mut thresholds = Map::new();
    for text in texts {
        let (metric, expression) = split(text).ok_or_else(|| {
            Refusal::usage(format!(
                "threshold {text:?} has no metric and expression\nwrite it as in 'completeness: min == 100%'"
            ))
        })?;
        let expressions = thresholds.entry(metric).or_insert_with(|| json!([])).as_array_mut();
        expressions.into_iter().for_each(|list| list.push(expression.into()));
    }
    Ok(Value::Object(thresholds))
}

/// `METRIC: EXPRESSION`; a colon inside the braces of the metric is its own.
fn split(text: &str) -> Option<(&str, &str)> {
    let from = text.find('}').unwrap_or(0);
    let colon = from + text.get(from..)?.find(':')?;
    let (metric, expression) = (text.get(..colon)?.trim(), text.get(colon + 1..)?.trim());
    (!metric.is_empty() && !expression.is_empty()).then_some((metric, expression))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use reports::wave::WaveMode;

    use super::*;
    use crate::plan::Question;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: MeasureArgs,
    }

    fn of_line(line: &str) -> anyhow::Result<Request> {
        let words = std::iter::once("measure").chain(line.split_whitespace());
        let args = Line::try_parse_from(words)?.args;
        of(&args, vec!["nats://127.0.0.1:4222".to_owned()])
    }

    #[test]
    fn the_predecessors_form_asks_emulated_nodes_for_100_bytes() {
        let plan = of_line("3 50 flat out --force-direct --timeout 4s --workers 2").unwrap().plan;
        assert!(plan.groups.is_empty());
        let entry = &plan.entries[0];
        assert_eq!((entry.count, entry.mode), (3, WaveMode::Direct));
        assert_eq!((entry.deadline.as_secs(), plan.client.receivers), (4, 2));
        assert_eq!(plan.description.as_deref(), Some("flat"));
        let Question::Request { agent, action, data } = &entry.question else {
            panic!("{:?}", entry.question)
        };
        assert_eq!((agent.as_str(), action.as_str()), ("emulated0", "generate"));
        assert_eq!(data["size"], 100);
    }

    #[test]
    fn the_modern_form_asks_any_agent_with_any_filter() {
        let line = "--agent puppet --action status -F country=mt -C /^role/ --clients 3 -n 2 \
                    --threshold completeness{wave:measure}:min==100%";
        let plan = of_line(line).unwrap().plan;
        let entry = &plan.entries[0];
        assert_eq!(entry.wire, entry.selects);
        assert_eq!(entry.selects.agents, ["puppet"]);
        assert_eq!(entry.selects.facts, ["country=mt"]);
        assert_eq!((entry.clients, entry.count), (3, 2));
        assert_eq!(plan.thresholds[0].metric, "completeness{wave:measure}");
    }

    #[test]
    fn everybody_has_to_answer_unless_something_else_is_asked_for() {
        let asked = |line| {
            let thresholds = of_line(line).unwrap().plan.thresholds;
            thresholds.into_iter().map(|t| t.metric + ": " + &t.expression).collect::<Vec<_>>()
        };
        assert_eq!(asked("--expect 5"), [EVERYBODY]);
        assert_eq!(asked("--expect 5 --threshold late:count==0"), ["late: count==0"]);
    }

    #[test]
    fn batches_have_their_sizes() {
        let plan = of_line("--mode batch --batch 7 -F a=b").unwrap().plan;
        assert_eq!(plan.entries[0].batch.map(|batch| batch.size), Some(7));
    }

    #[test]
    fn what_is_kept_of_a_request_is_a_scenario_with_the_same_plan() {
        let request = of_line("-F a=b --threshold late:count==0").unwrap();
        let read = Scenario::parse(&request.scenario_text, "measure.yaml", &[]).unwrap();
        assert_eq!(plan::resolve(&read).unwrap(), request.plan);
    }

    #[test]
    fn mistakes_are_told_with_the_way_out() {
        for (line, says) in [
            ("ten 50 flat out", "COUNT EXPECT DESCRIPTION OUTDIR"),
            ("--agent a.b --action ping", "such as rpcutil"),
            ("--agent rpcutil --data [1]", "--data is no JSON object"),
            ("--threshold completeness", "min == 100%"),
            ("--threshold completness:min==100%", "completeness"),
            ("--every 5", "`5s`"),
            ("-F nonsense", "nonsense"),
            ("-n 0", "from 1 to"),
        ] {
            let told = of_line(line).unwrap_err().to_string();
            assert!(told.contains(says), "{line}: {told}");
        }
    }
}
