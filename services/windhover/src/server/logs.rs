//! Starts the server's own log.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use windhover_telemetry::{
    Metrics,
    logging::{self, LogConfig, LogFormat},
};

use crate::settings::Settings;

pub(super) fn start(settings: &Settings, metrics: &Metrics) -> Result<()> {
    let format = match settings.text("windhover.log.format").as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => bail!("the setting `windhover.log.format` is `text` or `json`, not `{other}`"),
    };
    let root = settings.text("windhover.log.level").unwrap_or_else(|| "INFO".to_owned());
    let mut levels = BTreeMap::from([("root".to_owned(), root)]);
    levels.extend(settings.texts("logger.levels."));
    logging::init(&LogConfig { format, levels }, metrics.registry()).map_err(|reason| anyhow!("{reason}"))?;
    Ok(())
}
