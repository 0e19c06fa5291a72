//! The languages of script tasks (flow model reference 5.9).

/// How a language is run.
pub(super) struct Language {
    /// Its part of the type's name.
    pub(super) name: &'static str,
    /// What the text of a Script is run with; empty: the text is the command itself.
    pub(super) programs: &'static [&'static str],
    /// The extension of the file that the text of a Script is written to.
    pub(super) extension: &'static str,
    pub(super) interpreter: &'static [&'static str],
    /// The first command, when the first failure ends the script.
    pub(super) fail_fast: &'static str,
    /// Variables that the flow's own win over.
    pub(super) environment: &'static [(&'static str, &'static str)],
}

const SHELL: &[&str] = &["/bin/sh", "-c"];
const STOP_ON_ERROR: &str = "set -e";

const fn language(name: &'static str, programs: &'static [&'static str], extension: &'static str) -> Language {
    Language { name, programs, extension, interpreter: SHELL, fail_fast: STOP_ON_ERROR, environment: &[] }
}

pub(super) const LANGUAGES: &[Language] = &[
    language("shell", &[], ""),
    Language {
        environment: &[
            ("PYTHONUNBUFFERED", "true"),
            ("PIP_ROOT_USER_ACTION", "ignore"),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ],
        // Images for containers have both names, machines often only the second.
        ..language("python", &["python", "python3"], ".py")
    },
    language("node", &["node", "nodejs"], ".js"),
    language("r", &["Rscript"], ".R"),
    language("ruby", &["ruby"], ".rb"),
    language("julia", &["julia"], ".jl"),
    Language {
        interpreter: &["pwsh", "-NoProfile", "-NonInteractive", "-Command"],
        fail_fast: "$ErrorActionPreference = \"Stop\"",
        // PowerShell runs a file by its name.
        ..language("powershell", &[""], ".ps1")
    },
    language("jbang", &["jbang"], ".java"),
];

impl Language {
    /// The program that runs a file of this language: the first that is on `path`, else the usual one.
    pub(super) fn program(&self, path: &str) -> &'static str {
        let there = |name: &&&str| std::env::split_paths(path).any(|folder| folder.join(name).is_file());
        let usual = self.programs.first().copied().unwrap_or_default();
        self.programs.iter().find(there).copied().unwrap_or(usual)
    }
}
