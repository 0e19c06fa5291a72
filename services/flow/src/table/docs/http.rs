//! HTTP.

use super::{PropertyDoc, TypeDoc};
use crate::table::core;

const URI: PropertyDoc = ("uri", "", "Where the request goes.");
const METHOD: PropertyDoc = ("method", "GET", "GET, POST, PUT, PATCH, DELETE, HEAD …");
const PARAMS: PropertyDoc = ("params", "", "Parameters of the query; the items of a list repeat the name.");
const HEADERS: PropertyDoc = ("headers", "", "Headers.");
const BODY: PropertyDoc = ("body", "", "The body, a text.");
const FORM: PropertyDoc =
    ("formData", "", "A form as the body; files by their URIs when `contentType` is `multipart/form-data`.");
const CONTENT_TYPE: PropertyDoc = ("contentType", "application/json", "Type of the body.");
const REQUEST_OPTIONS: PropertyDoc = ("options", "", "How the call is made.");
const ALLOW_FAILED: PropertyDoc = ("allowFailed", "false", "An answer of 400 and above is no failure.");
const SSL: PropertyDoc = ("sslOptions", "", "Older form of `options.ssl`.");
const INSECURE: PropertyDoc = ("sslOptions.insecureTrustAllCertificates", "false", "Trusts any certificate.");
const ENCRYPT: PropertyDoc =
    ("encryptBody", "false", "Keeps the body of the answer encrypted, as `encryptedBody` instead of `body`.");

/// Of all tasks that call.
pub(super) const OPTIONS: &[PropertyDoc] = &[
    ("options.timeout", "", "How long to wait."),
    ("options.timeout.connectTimeout", "", "For the connection."),
    ("options.timeout.readIdleTimeout", "PT5M", "For the next part of the answer."),
    ("options.proxy", "", "A proxy to go through."),
    ("options.proxy.type", "DIRECT", "DIRECT, HTTP or SOCKS."),
    ("options.proxy.address", "", "Its host."),
    ("options.proxy.port", "", "Its port."),
    ("options.proxy.username", "", "Who logs in there."),
    ("options.proxy.password", "", "With which password; best a `secret()`."),
    ("options.auth", "", "Credentials."),
    (
        "options.auth.type",
        "",
        "BASIC, BEARER, or DIGEST (RFC 7616: a server that asks for it gets a proof of the password).",
    ),
    ("options.auth.username", "", "For BASIC and DIGEST."),
    ("options.auth.password", "", "For BASIC and DIGEST; best a `secret()`."),
    ("options.auth.token", "", "For BEARER; best a `secret()`."),
    ("options.ssl", "", "About TLS."),
    ("options.ssl.insecureTrustAllCertificates", "false", "Trusts any certificate."),
    ("options.followRedirects", "true", "Goes where a redirection leads."),
    ("options.allowFailed", "false", "An answer of 400 and above is no failure."),
    ("options.allowedResponseCodes", "", "Only these codes are no failure."),
    ("options.enabledTcpExtendedKeepAlive", "true", "Accepted and ignored."),
    ("options.defaultCharset", "UTF-8", "How an answer is written that does not say so."),
    ("options.logs", "", "What is logged: REQUEST_HEADERS, REQUEST_BODY, RESPONSE_HEADERS, RESPONSE_BODY."),
    ("options.logLevel", "", "Older form of `logs`."),
    ("options.connectTimeout", "", "Older form of `timeout.connectTimeout`."),
    ("options.readTimeout", "", "Older form of `timeout.readIdleTimeout`."),
    ("options.readIdleTimeout", "", "Older form of `timeout.readIdleTimeout`."),
    ("options.connectionPoolIdleTimeout", "", "Accepted and ignored."),
    ("options.maxContentLength", "", "Bytes of an answer at most."),
    ("options.basicAuthUser", "", "Older form of `auth.username`."),
    ("options.basicAuthPassword", "", "Older form of `auth.password`."),
    ("options.proxyType", "", "Older form of `proxy.type`."),
    ("options.proxyAddress", "", "Older form of `proxy.address`."),
    ("options.proxyPort", "", "Older form of `proxy.port`."),
    ("options.proxyUsername", "", "Older form of `proxy.username`."),
    ("options.proxyPassword", "", "Older form of `proxy.password`."),
    ("options.headers", "", "Headers of the call."),
];

pub(super) const DOCS: &[TypeDoc] = &[
    TypeDoc {
        name: core!("http.Request"),
        doc: "Calls a URL and gives the answer as its outputs.",
        properties: &[
            URI,
            METHOD,
            PARAMS,
            HEADERS,
            BODY,
            FORM,
            CONTENT_TYPE,
            REQUEST_OPTIONS,
            ALLOW_FAILED,
            ENCRYPT,
            SSL,
            INSECURE,
        ],
        outputs: &[
            ("uri", "text", "Where it went."),
            ("code", "number", "Status of the answer."),
            ("headers", "map", "Its headers, a list each."),
            ("body", "text", "Its body."),
            ("encryptedBody", "text", "Its body when `encryptBody` is set; expressions see it as it was."),
        ],
        example: "id: ask
type: io.kestra.plugin.core.http.Request
uri: https://example.com/api
method: POST
body: \"{{ {'flow': flow.id} | toJson }}\"
",
    },
    TypeDoc {
        name: core!("http.Download"),
        doc: "Calls a URL and stores the answer as a file.",
        properties: &[
            URI,
            METHOD,
            PARAMS,
            HEADERS,
            BODY,
            FORM,
            CONTENT_TYPE,
            REQUEST_OPTIONS,
            ALLOW_FAILED,
            SSL,
            INSECURE,
            ("failOnEmptyResponse", "true", "An answer without a body is a failure."),
            ("saveAs", "", "Name of the file."),
        ],
        outputs: &[
            ("uri", "uri", "The file."),
            ("code", "number", "Status of the answer."),
            ("length", "number", "Bytes."),
            ("headers", "map", "Headers of the answer, a list each."),
        ],
        example: "id: download
type: io.kestra.plugin.core.http.Download
uri: https://example.com/data.csv
",
    },
    TypeDoc {
        name: core!("http.SseRequest"),
        doc: "Calls a URL that answers with a stream of events (server-sent events), until the server ends it.",
        properties: &[
            URI,
            METHOD,
            PARAMS,
            HEADERS,
            BODY,
            FORM,
            CONTENT_TYPE,
            REQUEST_OPTIONS,
            ALLOW_FAILED,
            SSL,
            INSECURE,
            ("concatJqExpression", "", "What jq makes of each event, put together as one text."),
            ("failedOnMissingJq", "true", "An event of which jq makes nothing is a failure."),
        ],
        outputs: &[
            ("uri", "text", "Where it went."),
            ("code", "number", "Status of the answer."),
            ("headers", "map", "Headers of the answer, a list each."),
            ("events", "list", "The events; null when there is a `result`."),
            ("size", "number", "How many events there were."),
            ("result", "text", "What `concatJqExpression` made of them."),
        ],
        example: "id: listen
type: io.kestra.plugin.core.http.SseRequest
uri: https://example.com/events
",
    },
    TypeDoc {
        name: core!("http.Trigger"),
        doc: "Calls a URL again and again, and starts the flow when the answer is as a condition says.",
        properties: &[
            URI,
            METHOD,
            PARAMS,
            HEADERS,
            BODY,
            FORM,
            CONTENT_TYPE,
            REQUEST_OPTIONS,
            ENCRYPT,
            SSL,
            INSECURE,
            ("interval", "PT60S", "Time between two calls."),
            (
                "responseCondition",
                "{{ response.statusCode < 400 }}",
                "With `response.statusCode`, `response.body` and `response.headers`.",
            ),
        ],
        outputs: &[],
        example: "id: poll
type: io.kestra.plugin.core.http.Trigger
uri: https://example.com/status
interval: PT5M
responseCondition: \"{{ response.statusCode == 503 }}\"
",
    },
];
