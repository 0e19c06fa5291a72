//! Messages as JSON, in proto3's mapping: what a generated client of any language would print.

use std::sync::OnceLock;

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Value;

use super::error::Failure;

/// A message as JSON. Fields that are empty are there as well, so that scripts need not ask.
pub(super) fn value<M: Message + Name>(message: &M) -> Result<Value, Failure> {
    let fault = |what: String| Failure::Here(format!("cannot print {} as JSON: {what}", M::full_name()));
    let pool = pool().ok_or_else(|| fault("the descriptors are broken".to_owned()))?;
    let descriptor =
        pool.get_message_by_name(&M::full_name()).ok_or_else(|| fault("it has no descriptor".to_owned()))?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|error| fault(error.to_string()))?;
    let options = SerializeOptions::new().skip_default_fields(false);
    message.serialize_with_options(serde_json::value::Serializer, &options).map_err(|error| fault(error.to_string()))
}

/// A JSON text over several lines; what is none as it is.
pub(super) fn pretty(text: &str) -> String {
    let value = serde_json::from_str::<Value>(text).ok();
    value.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or_else(|| text.to_owned())
}

fn pool() -> Option<&'static DescriptorPool> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(windhover_proto::FILE_DESCRIPTOR_SET).ok()).as_ref()
}

#[cfg(test)]
mod tests {
    use windhover_client::v1::{
        FollowExecutionResponse, Json, Label, LogLevel, LogLine, ValidateFlowResponse, follow_execution_response::Event,
    };

    use super::*;

    #[test]
    fn messages_print_in_the_json_mapping_of_proto3() {
        let line = LogLine {
            time: Some(prost_types::Timestamp { seconds: 0, nanos: 5_000_000 }),
            level: LogLevel::Warn.into(),
            message: "hello".into(),
            position: u64::MAX,
            ..LogLine::default()
        };
        let message = FollowExecutionResponse { cursor: "c".into(), event: Some(Event::LogLine(line)) };
        let value = value(&message).unwrap();
        assert_eq!(value["cursor"], "c");
        let line = &value["logLine"];
        assert_eq!(line["time"], "1970-01-01T00:00:00.005Z");
        assert_eq!(line["level"], "LOG_LEVEL_WARN");
        // 64 bits are text in JSON, and what was not given is not there.
        assert_eq!(line["position"], "18446744073709551615");
        assert_eq!(line.get("attempt"), None);
        assert_eq!(line["taskRunId"], "");
    }

    #[test]
    fn empty_fields_are_printed() {
        let text = value(&ValidateFlowResponse::default()).unwrap().to_string();
        assert!(text.contains(r#""valid":false"#) && text.contains(r#""violations":[]"#), "{text}");
        assert_eq!(value(&Json { text: "1".into() }).unwrap()["text"], "1");
        assert_eq!(value(&Label::default()).unwrap()["key"], "");
    }
}
