//! The namespaces that a purge is about: `namespaces` or `namespacePattern`, with those below them unless
//! `includeChildNamespaces` is false (flow model 1.x reference 5.5).

use globset::{GlobBuilder, GlobMatcher};
use windhover_flow::text_of;
use windhover_types::Level;

use crate::{TaskContext, TaskError, kv::is_above};

/// Their names, in order; told in the log, since it is what the task works on.
pub(crate) async fn namespaces(context: &TaskContext) -> Result<Vec<String>, TaskError> {
    let (named, pattern, below) = context
        .render(|properties, environment| {
            let named = properties.list("namespaces", environment)?;
            let named = named.map(|names| names.iter().map(text_of).collect::<Vec<String>>());
            let pattern = properties.text("namespacePattern", environment)?;
            Ok((named, pattern, properties.bool("includeChildNamespaces", environment)?.unwrap_or(true)))
        })
        .await?;
    let upkeep = &context.services.upkeep;
    let known = async |with_flows| upkeep.namespaces(&context.tenant, with_flows).await.map_err(TaskError::failed);
    let chosen = match (named, pattern) {
        (Some(_), Some(_)) => {
            return Err(TaskError::failed("namespaces, namespacePattern: only one of them can be given"));
        }
        (None, None) => known(true).await?,
        (None, Some(pattern)) => {
            let pattern = glob("namespacePattern", &pattern)?;
            let mut names = known(false).await?;
            names.retain(|name| pattern.is_match(name));
            names
        }
        (Some(mut names), None) => {
            if below {
                let under =
                    known(false).await?.into_iter().filter(|name| names.iter().any(|above| is_above(above, name)));
                let under: Vec<String> = under.collect();
                names.extend(under);
            }
            names.sort();
            names.dedup();
            names
        }
    };
    context.log(Level::Info, &format!("purging {} namespaces: [{}]", chosen.len(), chosen.join(", ")));
    Ok(chosen)
}

/// A glob over names: `*` goes over everything but a slash.
pub(crate) fn glob(property: &str, text: &str) -> Result<GlobMatcher, TaskError> {
    let built = GlobBuilder::new(text.strip_prefix("glob:").unwrap_or(text)).literal_separator(true).build();
    built
        .map(|glob| glob.compile_matcher())
        .map_err(|_| TaskError::failed(format!("{property}: '{text}' is no pattern")))
}
