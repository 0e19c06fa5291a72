//! Properties that the http tasks and the polling trigger share (flow model reference 5.4, 1.x 5.4).

use super::{Kind, PropertySpec};

const fn new(name: &'static str, kind: Kind) -> PropertySpec {
    PropertySpec::new(name, kind)
}

/// Options of the http tasks (flow model 1.x reference 5.4), with the older flat forms.
pub(super) const HTTP_OPTIONS: &[PropertySpec] = &[
    new("timeout", Kind::Object(&[new("connectTimeout", Kind::Duration), new("readIdleTimeout", Kind::Duration)])),
    new(
        "proxy",
        Kind::Object(&[
            new("type", Kind::Text),
            new("address", Kind::Text),
            new("port", Kind::Int),
            new("username", Kind::Text),
            new("password", Kind::Text),
        ]),
    ),
    new(
        "auth",
        Kind::Object(&[
            new("type", Kind::Choice(&["BASIC", "BEARER", "DIGEST"])),
            new("username", Kind::Text),
            new("password", Kind::Text),
            new("token", Kind::Text),
        ]),
    ),
    new("ssl", Kind::Object(&[new("insecureTrustAllCertificates", Kind::Bool)])),
    new("followRedirects", Kind::Bool),
    new("allowFailed", Kind::Bool),
    new("allowedResponseCodes", Kind::List),
    new("enabledTcpExtendedKeepAlive", Kind::Bool),
    new("defaultCharset", Kind::Text),
    new("logs", Kind::List),
    new("logLevel", Kind::Text),
    new("connectTimeout", Kind::Duration),
    new("readTimeout", Kind::Duration),
    new("readIdleTimeout", Kind::Duration),
    new("connectionPoolIdleTimeout", Kind::Duration),
    new("maxContentLength", Kind::Int),
    new("basicAuthUser", Kind::Text),
    new("basicAuthPassword", Kind::Text),
    new("proxyType", Kind::Text),
    new("proxyAddress", Kind::Text),
    new("proxyPort", Kind::Int),
    new("proxyUsername", Kind::Text),
    new("proxyPassword", Kind::Text),
];

pub(super) const URI: PropertySpec = new("uri", Kind::Text).required();
pub(super) const METHOD: PropertySpec = new("method", Kind::Text);
pub(super) const PARAMS: PropertySpec = new("params", Kind::Map);
pub(super) const HEADERS: PropertySpec = new("headers", Kind::Map);
pub(super) const BODY: PropertySpec = new("body", Kind::Text);
pub(super) const FORM_DATA: PropertySpec = new("formData", Kind::Map);
pub(super) const CONTENT_TYPE: PropertySpec = new("contentType", Kind::Text);
pub(super) const OPTIONS: PropertySpec = new("options", Kind::Object(HTTP_OPTIONS));
pub(super) const ALLOW_FAILED: PropertySpec = new("allowFailed", Kind::Bool);
pub(super) const ENCRYPT_BODY: PropertySpec = new("encryptBody", Kind::Bool);
pub(super) const SSL_OPTIONS: PropertySpec =
    new("sslOptions", Kind::Object(&[new("insecureTrustAllCertificates", Kind::Bool)]));
