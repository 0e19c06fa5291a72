//! Flow sources: files, folders, standard input; several documents in one file.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use super::error::Failure;

/// One YAML document, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The file, `-` for standard input.
    pub(super) name: String,
    /// Lines of the file before this document.
    pub(super) lines_before: u32,
    pub(super) text: String,
}

impl Source {
    /// `file:line:column` of a place in this document; the file alone when there is none.
    pub(super) fn place(&self, line: u32, column: u32) -> String {
        match line {
            0 => self.name.clone(),
            line => format!("{}:{}:{column}", self.name, line + self.lines_before),
        }
    }
}

/// All documents of these files and folders (`*.yaml` and `*.yml` at any depth, by name); `-` is standard input.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(|error| cannot_read("standard input", &error))?;
            add(&mut sources, "-", &text)?;
        } else if path.is_dir() {
            let mut files = Vec::new();
            find(path, &mut files)?;
            if files.is_empty() {
                return Err(Failure::Here(format!("{}: no *.yaml or *.yml below", path.display())));
            }
            for file in files {
                add_file(&mut sources, &file)?;
            }
        } else {
            add_file(&mut sources, path)?;
        }
    }
    Ok(sources)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error: io::Error| cannot_read(&folder.display().to_string(), &error);
    let mut entries = fs::read_dir(folder).map_err(failed)?.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        // A link to a folder is not followed: it may lead back here.
        if entry.file_type().map_err(failed)?.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    Ok(())
}

fn add_file(sources: &mut Vec<Source>, path: &Path) -> Result<(), Failure> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| cannot_read(&name, &error))?;
    add(sources, &name, &text)
}

fn add(sources: &mut Vec<Source>, name: &str, text: &str) -> Result<(), Failure> {
    let documents = split(text);
    if documents.is_empty() {
        return Err(Failure::Here(format!("{name}: nothing in it")));
    }
    sources.extend(documents.into_iter().map(|(lines_before, text)| Source {
        name: name.to_owned(),
        lines_before,
        text: text.to_owned(),
    }));
    Ok(())
}

fn cannot_read(what: &str, error: &io::Error) -> Failure {
    Failure::Here(format!("cannot read {what}: {error}"))
}

/// The documents of a text with the number of lines before each. A line that begins with `---` always begins a
/// document, even inside a block of text (YAML 1.2.2, 9.1.2); what holds only comments is none.
fn split(text: &str) -> Vec<(u32, &str)> {
    let mut documents = Vec::new();
    let (mut from, mut first_line, mut at) = (0, 0, 0);
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        if is_marker(line) {
            documents.push((first_line, &text[from..at]));
            // Something may follow the marker on its line; then it is part of the document.
            let bare = line[3..].trim().is_empty();
            (from, first_line) = if bare { (at + line.len(), number + 1) } else { (at, number) };
        }
        at += line.len();
    }
    documents.push((first_line, &text[from..]));
    documents.retain(|(_, document)| document.lines().any(|line| !is_empty(line)));
    documents
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Blank, a comment, a directive, or a marker with nothing but a comment behind it.
fn is_empty(line: &str) -> bool {
    let content = line.strip_prefix('\u{feff}').unwrap_or(line);
    let content = if is_marker(content) { &content[3..] } else { content };
    let content = content.trim();
    content.is_empty() || content.starts_with(['#', '%']) || content == "..."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_text_and_their_lines() {
        let text = "# a head\n---\nid: a\ntext: |\n  ---\n--- # second\nid: b\n---\n# nothing\n---\nid: c";
        assert_eq!(split(text), [(2, "id: a\ntext: |\n  ---\n"), (5, "--- # second\nid: b\n"), (10, "id: c")]);
    }

    #[test]
    fn one_document_is_the_whole_file_and_windows_lines_are_lines() {
        assert_eq!(split("id: a\n"), [(0, "id: a\n")]);
        assert_eq!(split("id: a\r\n---\r\nid: b\r\n"), [(0, "id: a\r\n"), (2, "id: b\r\n")]);
        assert_eq!(split("id: ---\n----\n"), [(0, "id: ---\n----\n")]);
        assert_eq!(split("\u{feff}# only\n---\n...\n"), []);
    }

    #[test]
    fn folders_are_read_at_any_depth_by_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("b")).unwrap();
        for (name, text) in
            [("c.yml", "id: c"), ("a.yaml", "id: a1\n---\nid: a2"), ("b/x.yaml", "id: x"), ("n.txt", "no")]
        {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let sources = read(&[folder.path().to_owned()]).unwrap();
        let texts: Vec<&str> = sources.iter().map(|source| source.text.trim()).collect();
        assert_eq!(texts, ["id: a1", "id: a2", "id: x", "id: c"]);
        assert!(sources[1].place(1, 4).ends_with("a.yaml:3:4"), "{}", sources[1].place(1, 4));
        assert!(read(&[folder.path().join("absent.yaml")]).is_err());
    }
}
