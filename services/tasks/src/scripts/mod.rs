//! `io.kestra.plugin.scripts.*`: scripts as processes of the worker (flow model reference 5.8 and 5.9, the same of 1.x 5.7).
//!
//! Always true: a script that has failed keeps what it has published; nothing of it is left when the attempt ends.
//! Not here: containers. A task that names none of the runners gets a process, as does one that only names an image.

mod command;
mod language;
mod said;

use std::{path::PathBuf, sync::LazyLock, time::Instant};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use windhover_engine::MetricKind;
use windhover_flow::text_of;
use windhover_types::{JsonMap, Level, State};

use command::{Commands, Renderer, ScriptFile, run_file};
use language::{LANGUAGES, Language};
use said::Said;

use crate::{
    Metric, Task, TaskContext, TaskError, TaskOutcome,
    directory::{Folder, copy_namespace_files},
    process::{self, Allowed, Wanted},
};

const PREFIX: &str = "io.kestra.plugin.scripts.";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Commands,
    Script,
}

struct ScriptTask {
    language: &'static Language,
    form: Form,
}

static TASKS: LazyLock<Vec<ScriptTask>> = LazyLock::new(|| {
    let forms = |language| [Form::Commands, Form::Script].map(|form| ScriptTask { language, form });
    LANGUAGES.iter().flat_map(forms).collect()
});

/// The task of a canonical name, if it is one of scripts.
pub(crate) fn task_of(canonical: &str) -> Option<&'static dyn Task> {
    let (language, form) = canonical.strip_prefix(PREFIX)?.split_once('.')?;
    let form = match form {
        "Commands" => Form::Commands,
        "Script" => Form::Script,
        _ => return None,
    };
    let task = TASKS.iter().find(|task| task.language.name == language && task.form == form)?;
    Some(task)
}

/// Properties that say how a script is run.
struct Options {
    environment: JsonMap,
    output_files: Vec<Value>,
    output_directory: bool,
    fail_fast: bool,
    namespace_files: Option<JsonMap>,
    /// jbang's own.
    quiet: bool,
    extension: Option<String>,
}

impl Options {
    async fn read(context: &TaskContext) -> Result<Self, TaskError> {
        let read = context.render(|properties, environment| {
            // With the older way to name a runner the folder was always there.
            let older = properties.get("runner").is_some();
            Ok(Self {
                environment: properties.map("env", environment)?.unwrap_or_default(),
                output_files: properties.list("outputFiles", environment)?.unwrap_or_default(),
                output_directory: properties.bool("outputDirectory", environment)?.unwrap_or(older),
                fail_fast: properties.bool("failFast", environment)?.unwrap_or(true),
                namespace_files: properties.map("namespaceFiles", environment)?,
                quiet: properties.bool("quiet", environment)?.unwrap_or(true),
                extension: properties.text("extension", environment)?,
            })
        });
        Ok(read.await?)
    }
}

#[async_trait]
impl Task for ScriptTask {
    async fn run(&self, context: &TaskContext) -> Result<TaskOutcome, TaskError> {
        let allowed = context.services.processes.get()?;
        tell_runner(context).await?;
        let options = Options::read(context).await?;
        let folder = context.folder()?;
        // Home of the process and place of what it does not write itself; next to its folder, so that none of it is
        // among the files that are kept.
        let scratch = Folder::new()?;
        let copied = bring_namespace_files(context, folder, &options).await?;
        let output = if options.output_directory { Some(output_folder(context, folder)?) } else { None };
        let variables = variables(folder, output.as_ref(), &options.output_files);
        write_input_files(context, folder, &variables).await?;
        let environment = self.environment(allowed, &options, folder, &scratch, output.as_ref());
        let mut renderer = Renderer::new(context, &scratch, variables);
        let (commands, file) = self.commands(&mut renderer, folder, &options, &environment).await?;
        let wanted = Wanted {
            command: commands.line(self.language),
            environment,
            folder: folder.path().to_owned(),
            scratch: vec![scratch.path().to_owned()],
        };
        let mut said = Said::new(context, allowed.limits);
        copied.into_iter().for_each(|metric| said.outcome.record(metric));
        let code = process::run(allowed, wanted, &mut |line, is_error| said.line(line, is_error)).await;
        drop(file);
        said.end();
        let Said { vars, outcome, .. } = said;
        // What was published counts, whatever came after.
        let (code, error) = match code {
            Ok(0) => (Some(0), None),
            Ok(code) => (Some(code), Some(format!("Command failed with exit code {code}"))),
            Err(error) => (None, Some(error.to_string())),
        };
        let mut files = JsonMap::new();
        if let Some(output) = output {
            files = folder.store_below(context, &output).await?;
        }
        files.extend(folder.store(context, &options.output_files).await?);
        let mut outputs = Map::new();
        outputs.insert("vars".to_owned(), Value::Object(vars));
        if let Some(code) = code {
            outputs.insert("exitCode".to_owned(), json!(code));
        }
        outputs.insert("outputFiles".to_owned(), Value::Object(files));
        let state = if error.is_some() { State::Failed } else { State::Success };
        Ok(TaskOutcome { state, error, outputs: Some(Value::Object(outputs)), ..outcome })
    }
}

impl ScriptTask {
    /// The commands as they are run, and the file that they need.
    async fn commands(
        &self,
        renderer: &mut Renderer<'_>,
        folder: &Folder,
        options: &Options,
        environment: &[(String, String)],
    ) -> Result<(Commands, Option<ScriptFile>), TaskError> {
        let default = || self.language.interpreter.iter().map(|part| (*part).to_owned()).collect();
        let interpreter = renderer.list("interpreter").await?.unwrap_or_else(default);
        let before = renderer.list("beforeCommands").await?.unwrap_or_default();
        let fail_fast = options.fail_fast;
        let (main, file) = match self.form {
            Form::Commands => (renderer.list("commands").await?.unwrap_or_default(), None),
            Form::Script => {
                let text = renderer.text("script").await?;
                if self.language.programs.is_empty() {
                    (vec![text], None)
                } else {
                    let file = self.write(renderer.context, folder, options, &text).await?;
                    let path =
                        environment.iter().find(|(name, _)| name == "PATH").map_or("", |(_, path)| path.as_str());
                    (vec![run_file(self.language, &file.0, path, options.quiet)], Some(file))
                }
            }
        };
        Ok((Commands { interpreter, before, main, fail_fast }, file))
    }

    /// Writes a script into the folder that it runs in: languages look there for what it imports.
    async fn write(
        &self,
        context: &TaskContext,
        folder: &Folder,
        options: &Options,
        text: &str,
    ) -> Result<ScriptFile, TaskError> {
        let extension = options.extension.as_deref().map(crate::storage::with_dot);
        let extension = extension.unwrap_or_else(|| self.language.extension.to_owned());
        let file = ScriptFile(folder.place(&format!("script_{}{extension}", context.unique_name()))?);
        let written = tokio::fs::write(&file.0, text).await;
        written.map_err(|error| TaskError::failed(format!("the script cannot be written: {error}")))?;
        Ok(file)
    }

    /// All variables that the process sees; later ones win.
    fn environment(
        &self,
        allowed: &Allowed,
        options: &Options,
        folder: &Folder,
        scratch: &Folder,
        output: Option<&String>,
    ) -> Vec<(String, String)> {
        let mut all = allowed.environment(&scratch.path().display().to_string());
        let own = self.language.environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        all.extend(own);
        all.push(("WORKING_DIR".to_owned(), folder.path().display().to_string()));
        if let Some(output) = output {
            all.push(("OUTPUT_DIR".to_owned(), folder.path().join(output).display().to_string()));
        }
        all.extend(options.environment.iter().map(|(name, value)| (name.clone(), text_of(value))));
        // The last of a name is what the process gets, and what is looked at for its path.
        let mut unique: Vec<(String, String)> = Vec::new();
        for (name, value) in all {
            unique.retain(|(known, _)| *known != name);
            unique.push((name, value));
        }
        unique
    }
}

/// Says where the script runs, when its flow may mean another place.
async fn tell_runner(context: &TaskContext) -> Result<(), TaskError> {
    const PROCESS: &str = "io.kestra.plugin.core.runner.Process";
    let properties = context.properties();
    let named = properties.get("taskRunner").is_some() || properties.get("runner").is_some();
    context.log(Level::Debug, &format!("Using task runner '{PROCESS}'"));
    if named {
        return Ok(());
    }
    let image = context
        .render(|properties, environment| {
            let of_docker = properties.map("docker", environment)?.and_then(|map| map.get("image").map(text_of));
            Ok(properties.text("containerImage", environment)?.or(of_docker))
        })
        .await?;
    match image {
        Some(image) => context.log(
            Level::Warn,
            &format!("the script runs as a process of the worker, not in a container of the image '{image}'"),
        ),
        None => context.log(
            Level::Info,
            &format!("the script runs as a process of the worker, not in a container (taskRunner: {{type: {PROCESS}}} says so)"),
        ),
    }
    Ok(())
}

/// Copies the files of namespaces that the task asks for; answers what is told of it (flow model 1.x reference 5.6).
async fn bring_namespace_files(
    context: &TaskContext,
    folder: &Folder,
    options: &Options,
) -> Result<Vec<Metric>, TaskError> {
    let Some(wanted) = &options.namespace_files else { return Ok(Vec::new()) };
    let begun = Instant::now();
    let count = copy_namespace_files(context, folder, wanted).await?;
    let millis = begun.elapsed().as_secs_f64() * 1_000.0;
    let duration = Metric { kind: MetricKind::Timer, ..Metric::counter("namespacefiles.duration", millis, &[]) };
    Ok(vec![Metric::counter("namespacefiles.count", count as f64, &[]), duration])
}

/// A new folder below the working directory, by its name there.
fn output_folder(context: &TaskContext, folder: &Folder) -> Result<String, TaskError> {
    let name = format!("output_{}", context.unique_name());
    let made = std::fs::create_dir(folder.path().join(&name));
    made.map_err(|error| TaskError::failed(format!("the output directory cannot be made: {error}")))?;
    Ok(name)
}

/// What templates see besides the task's variables.
fn variables(folder: &Folder, output: Option<&String>, output_files: &[Value]) -> Vec<(&'static str, Value)> {
    let path = |below: PathBuf| Value::String(below.display().to_string());
    let mut all = vec![("workingDir", path(folder.path().to_owned()))];
    if let Some(output) = output {
        all.push(("outputDir", path(folder.path().join(output))));
    }
    let names = output_files.iter().map(text_of).filter(|name| !name.contains(['*', '?', '[']));
    let places: JsonMap = names.map(|name| (name.clone(), path(folder.path().join(&name)))).collect();
    if !places.is_empty() {
        all.push(("outputFiles", Value::Object(places)));
    }
    all
}

/// `inputFiles`: a map, whose nulls are no files, or a text that is a JSON object, whose nulls are empty files.
async fn write_input_files(
    context: &TaskContext,
    folder: &Folder,
    variables: &[(&'static str, Value)],
) -> Result<(), TaskError> {
    let files =
        context.render_with(variables, |properties, environment| properties.map("inputFiles", environment)).await?;
    let Some(mut files) = files else { return Ok(()) };
    let is_text = matches!(context.properties().get("inputFiles"), Some(windhover_flow::Properties::Text(_)));
    if is_text {
        for content in files.values_mut().filter(|content| content.is_null()) {
            *content = Value::String(String::new());
        }
    }
    folder.write(context, &files).await
}
