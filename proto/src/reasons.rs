//! Reasons of errors: `google.rpc.ErrorInfo.reason`. Stable: a reason never changes its name, code or meaning.
//! The README of this crate shows the same table, and a test holds the two together.

use tonic::Code;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Reason {
    /// What clients see and compare.
    pub name: &'static str,
    /// The status code that it always comes with.
    pub code: Code,
    /// What happened, and what to do.
    pub meaning: &'static str,
}

macro_rules! reasons {
    ($($name:ident, $code:ident, $meaning:literal;)+) => {
        $(#[doc = $meaning] pub const $name: &str = stringify!($name);)+

        /// Every reason there is.
        pub const ALL: &[Reason] =
            &[$(Reason { name: stringify!($name), code: Code::$code, meaning: $meaning }),+];
    };
}

reasons! {
    INVALID_ARGUMENT, InvalidArgument, "A field of the request is missing, too long or of a wrong form; the fields name it.";
    INVALID_FLOW, InvalidArgument, "The source of a flow is wrong; the fields hold every violation as `source:LINE:COLUMN path`.";
    INVALID_INPUT, InvalidArgument, "Inputs of an execution are missing or of a wrong type or value; the fields hold them as `inputs.ID`.";
    INVALID_FILTER, InvalidArgument, "A filter cannot be read, or names an unknown field or value; metadata `position` counts characters from 1.";
    INVALID_PAGE_TOKEN, InvalidArgument, "A page token was changed, is too old, or belongs to another list, filter or view.";
    INVALID_TENANT, InvalidArgument, "A tenant's name has a wrong form.";
    INVALID_STATE, InvalidArgument, "The execution or task run cannot be given this state; the fields name it.";
    TASK_RUN_NOT_FOUND, InvalidArgument, "The execution has no such task run; the fields name it.";
    LABEL_RESERVED, InvalidArgument, "A label begins with `system.`, which only Windhover sets; metadata `label`.";
    UNSUPPORTED, Unimplemented, "The flow or call asks for something that this version does not have; the fields say where.";
    FLOW_NOT_FOUND, NotFound, "There is no such flow or revision, or it was deleted; metadata `namespace`, `flow`.";
    EXECUTION_NOT_FOUND, NotFound, "There is no such execution in this tenant; metadata `execution`.";
    SECRET_NOT_FOUND, NotFound, "There is no such secret in this place; metadata `namespace`, `name`.";
    ENTRY_NOT_FOUND, NotFound, "There is no such entry in the key-value store of this namespace; metadata `namespace`, `key`.";
    FILE_NOT_FOUND, NotFound, "There is no such file in internal storage; metadata `uri`.";
    PLUGIN_NOT_FOUND, NotFound, "There is no such type of tasks, triggers or conditions; metadata `type`, and `suggestion` with what was probably meant.";
    TENANT_NOT_FOUND, NotFound, "There is no such tenant; metadata `tenant`.";
    TOKEN_NOT_FOUND, NotFound, "There is no such token in this tenant; metadata `token`.";
    TRIGGER_NOT_FOUND, NotFound, "The newest revision of the flow has no such trigger, or there is no such flow; metadata `namespace`, `flow`, `trigger`.";
    BACKFILL_NOT_FOUND, NotFound, "The trigger has no backfill under way; metadata `namespace`, `flow`, `trigger`.";
    INSTANCE_NOT_FOUND, NotFound, "There is no such instance in the cluster; metadata `instance`.";
    METHOD_NOT_FOUND, Unimplemented, "The server has no such service or method.";
    TENANT_EXISTS, AlreadyExists, "There is a tenant of this name; metadata `tenant`.";
    REQUEST_ID_REUSED, AlreadyExists, "The request id was used for another content, or for what is shown only once.";
    FLOW_DISABLED, FailedPrecondition, "The flow is disabled: nothing can start it; metadata `namespace`, `flow`.";
    CHECK_FAILED, FailedPrecondition, "A check of the flow does not hold for these inputs, and nothing was created; the message tells all of them.";
    NAMESPACE_BREAKS_FLOWS, FailedPrecondition, "Flows that are good now would be wrong with these settings of their namespace; the fields name them.";
    EXECUTION_ENDED, FailedPrecondition, "The execution has ended already; metadata `execution`, `state`.";
    EXECUTION_NOT_RUNNING, FailedPrecondition, "The execution is not RUNNING, which this needs; metadata `execution`.";
    EXECUTION_NOT_PAUSED, FailedPrecondition, "The execution is not PAUSED, which this needs; metadata `execution`.";
    EXECUTION_NOT_QUEUED, FailedPrecondition, "The execution is not QUEUED, which this needs; metadata `execution`.";
    EXECUTION_NOT_ENDED, FailedPrecondition, "The execution has not ended, which this needs; metadata `execution`.";
    EXECUTION_KILLED, FailedPrecondition, "The execution was killed and stays so; metadata `execution`.";
    NOTHING_TO_RESTART, FailedPrecondition, "No task run of the execution has failed or is paused; metadata `execution`.";
    EXECUTION_PARKED, FailedPrecondition, "The execution does not move until an operator has looked at it; metadata `cause`.";
    BACKFILL_EXISTS, AlreadyExists, "The trigger has a backfill under way: delete it or wait for its end; metadata `namespace`, `flow`, `trigger`.";
    TRIGGER_NOT_SCHEDULED, FailedPrecondition, "The trigger does not act at dates, so this does not apply to it; metadata `type`.";
    TRIGGER_NOT_LOCKED, FailedPrecondition, "The trigger does not wait for an execution; metadata `namespace`, `flow`, `trigger`.";
    INSTANCE_UNSUITABLE, FailedPrecondition, "The instance is no executor, is not alive, or drains; metadata `instance`.";
    ETAG_MISMATCH, Aborted, "What was to be changed has changed since it was read: read it again; metadata `etag`.";
    UNAUTHENTICATED, Unauthenticated, "No credential, or one that is wrong, expired or revoked.";
    PERMISSION_DENIED, PermissionDenied, "The caller's role does not allow this; metadata `role` names the role that does.";
    MESSAGE_TOO_LARGE, ResourceExhausted, "The request, or a part of it, is larger than the limit; metadata `limit` in bytes.";
    RATE_LIMITED, ResourceExhausted, "Too many calls: RetryInfo says after which time to try again.";
    DEADLINE_EXCEEDED, DeadlineExceeded, "The deadline of the call passed first. What it asked for may have been done.";
    CANCELLED, Cancelled, "The caller gave up. What it asked for may have been done.";
    UNAVAILABLE, Unavailable, "The server starts, stops, or has lost its store for a moment: try again with the same request id.";
    INTERNAL, Internal, "A fault of Windhover; the server's log has the details under the request id of the response.";
}

/// The row of a reason.
pub fn find(name: &str) -> Option<&'static Reason> {
    ALL.iter().find(|reason| reason.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Name, code and meaning as the README prints them.
    fn row(reason: &Reason) -> String {
        let code = format!("{:?}", reason.code).chars().fold(String::new(), |mut text, letter| {
            if letter.is_uppercase() && !text.is_empty() {
                text.push('_');
            }
            text.push(letter.to_ascii_uppercase());
            text
        });
        format!("| `{}` | {code} | {} |", reason.name, reason.meaning)
    }

    #[test]
    fn readme_and_table_agree() {
        let readme = include_str!("../README.md");
        let printed: BTreeSet<&str> = readme
            .lines()
            .skip_while(|line| !line.starts_with("| reason |"))
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let rows: Vec<String> = ALL.iter().map(row).collect();
        let expected: BTreeSet<&str> = rows.iter().map(String::as_str).collect();
        let text = rows.join("\n");
        assert_eq!(printed, expected, "the table of the README must be:\n{text}");
    }

    #[test]
    fn every_reason_named_in_the_proto_files_is_in_the_table() {
        let descriptors = concat!(
            include_str!("../windhover/v1/flow.proto"),
            include_str!("../windhover/v1/execution.proto"),
            include_str!("../windhover/v1/log.proto"),
            include_str!("../windhover/v1/secret.proto"),
            include_str!("../windhover/v1/trigger.proto"),
            include_str!("../windhover/v1/kv.proto"),
            include_str!("../windhover/v1/namespace.proto"),
            include_str!("../windhover/v1/file.proto"),
            include_str!("../windhover/v1/common.proto"),
            include_str!("../windhover/admin/v1/tenant.proto"),
            include_str!("../windhover/admin/v1/access.proto"),
            include_str!("../windhover/admin/v1/cluster.proto"),
        );
        let comments = descriptors.lines().map(str::trim).filter(|line| line.starts_with("//")).collect::<Vec<_>>();
        let text = comments.join(" ");
        // A reason is two upper-case words joined by an underscore; roles and codes are written so as well.
        let known = ["PLATFORM_ADMIN", "NOT_FOUND"];
        for word in text.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).filter(|word| word.contains('_')) {
            let word = word.trim_matches('_');
            if word.contains('_') && !known.contains(&word) {
                assert!(find(word).is_some(), "{word} is not in the table");
            }
        }
    }
}
