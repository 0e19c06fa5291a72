//! Tasks over key-value stores, files of namespaces, internal storage and states.

use super::{PropertyDoc, TypeDoc};
use crate::table::core;

const KEY: PropertyDoc = ("key", "", "The key: letters, digits, `_`, `-`, `.`; the first a letter or digit.");
const FROM: PropertyDoc = ("from", "", "URI of the file.");
const SEPARATOR: PropertyDoc = ("separator", "\\n", "What stands between two items.");
const NAME: PropertyDoc = ("name", "default", "Name of the state.");
const WHOLE: PropertyDoc = ("namespace", "false", "The state is the whole namespace's, not that of this flow alone.");
const PER_VALUE: PropertyDoc = ("taskrunValue", "true", "Inside of a loop each value has a state of its own.");

pub(super) const DOCS: &[TypeDoc] = &[
    TypeDoc {
        name: core!("kv.Set"),
        doc: "Sets an entry of a key-value store.",
        properties: &[
            KEY,
            ("value", "", "The value, with its type."),
            ("overwrite", "true", "`false`: an entry that is there already is a failure."),
            ("ttl", "", "How long it is good; for ever when it is not given."),
            ("kvType", "", "What a text is taken for."),
            ("kvDescription", "", "For people."),
        ],
        outputs: &[],
        example: "id: remember
type: io.kestra.plugin.core.kv.Set
key: last_run
value: \"{{ execution.startDate }}\"
",
    },
    TypeDoc {
        name: core!("kv.Get"),
        doc: "Reads an entry of a key-value store: of the namespace, else of the nearest one above that has it.",
        properties: &[KEY],
        outputs: &[("value", "any", "The value; null when there is none.")],
        example: "id: last_run
type: io.kestra.plugin.core.kv.Get
key: last_run
",
    },
    TypeDoc {
        name: core!("kv.GetKeys"),
        doc: "Lists the keys of a key-value store.",
        properties: &[("prefix", "", "Only keys that begin with it.")],
        outputs: &[("keys", "list", "The keys.")],
        example: "id: keys
type: io.kestra.plugin.core.kv.GetKeys
prefix: last_
",
    },
    TypeDoc {
        name: core!("kv.Put"),
        doc: "Changes parts of an entry: maps are merged, or the values at given paths are set.",
        properties: &[KEY, ("value", "", "A map that is merged, or a list of `{key, value}` with dotted paths.")],
        outputs: &[],
        example: "id: count
type: io.kestra.plugin.core.kv.Put
key: counters
value:
  orders: 12
",
    },
    TypeDoc {
        name: core!("kv.Delete"),
        doc: "Takes an entry away from a key-value store.",
        properties: &[KEY],
        outputs: &[("deleted", "boolean", "Whether there was one.")],
        example: "id: forget
type: io.kestra.plugin.core.kv.Delete
key: last_run
",
    },
    TypeDoc {
        name: core!("kv.PurgeKV"),
        doc: "Deletes entries of key-value stores whose time is over, or old versions.",
        properties: &[
            ("namespaces", "", "Of these namespaces; of all when neither this nor `namespacePattern` is given."),
            ("namespacePattern", "", "Of namespaces that match, with `*` and `?`."),
            ("keyPattern", "", "Only keys that match."),
            ("includeChildNamespaces", "true", "Also of the namespaces below."),
            ("behavior", "", "`{type: key, expiredOnly}` or `{type: version, before | keepAmount}`."),
            ("behavior.type", "key", "Whole entries, or versions of them."),
            ("behavior.expiredOnly", "true", "Only entries whose time is over."),
            ("behavior.before", "", "Versions up to then, except the newest."),
            ("behavior.keepAmount", "", "All but so many of the newest versions."),
            ("expiredOnly", "true", "Older form of `behavior.expiredOnly`."),
        ],
        outputs: &[("size", "number", "How many were deleted.")],
        example: "id: purge
type: io.kestra.plugin.core.kv.PurgeKV
namespaces: [company.team]
",
    },
    TypeDoc {
        name: core!("namespace.UploadFiles"),
        doc: "Stores files in a namespace.",
        properties: &[
            ("files", "", "Patterns of files in the working directory."),
            ("filesMap", "", "URIs of files by the names that they get."),
            ("destination", "/", "Folder that they are put into."),
            ("conflict", "OVERWRITE", "What happens to a file that is there already."),
        ],
        outputs: &[],
        example: "id: upload
type: io.kestra.plugin.core.namespace.UploadFiles
filesMap:
  report.csv: \"{{ trigger.uri }}\"
",
    },
    TypeDoc {
        name: core!("namespace.DownloadFiles"),
        doc: "Copies files of a namespace into internal storage.",
        properties: &[
            ("files", "", "A pattern, or a list of patterns."),
            ("destination", "", "What their names begin with in the output."),
        ],
        outputs: &[("files", "map", "URIs of the files, by name.")],
        example: "id: download
type: io.kestra.plugin.core.namespace.DownloadFiles
files: \"*.sql\"
",
    },
    TypeDoc {
        name: core!("namespace.DeleteFiles"),
        doc: "Deletes files of a namespace.",
        properties: &[
            ("files", "", "A pattern, or a list of patterns."),
            ("deleteParentFolder", "false", "Also folders that are empty then."),
        ],
        outputs: &[],
        example: "id: clean
type: io.kestra.plugin.core.namespace.DeleteFiles
files: \"tmp/*\"
",
    },
    TypeDoc {
        name: core!("namespace.PurgeFiles"),
        doc: "Deletes old versions of files of namespaces.",
        properties: &[
            ("namespaces", "", "Of these namespaces; of all when neither this nor `namespacePattern` is given."),
            ("namespacePattern", "", "Of namespaces that match, with `*` and `?`."),
            ("filePattern", "", "Only files that match."),
            ("includeChildNamespaces", "true", "Also of the namespaces below."),
            ("behavior", "", "`{type: version, before | keepAmount}`; one version is kept when nothing is said."),
            ("behavior.before", "", "Versions up to then."),
            ("behavior.keepAmount", "1", "All but so many of the newest versions."),
        ],
        outputs: &[("size", "number", "How many were deleted.")],
        example: "id: purge
type: io.kestra.plugin.core.namespace.PurgeFiles
namespaces: [company.team]
",
    },
    TypeDoc {
        name: core!("state.Set"),
        doc: "Keeps values for later executions; what was kept before is merged with them.",
        properties: &[NAME, WHOLE, PER_VALUE, ("data", "", "The values.")],
        outputs: &[("count", "number", "How many values are kept."), ("key", "text", "The key of the state.")],
        example: "id: keep
type: io.kestra.plugin.core.state.Set
name: progress
data:
  page: 3
",
    },
    TypeDoc {
        name: core!("state.Get"),
        doc: "Reads values that an earlier execution kept.",
        properties: &[NAME, WHOLE, PER_VALUE],
        outputs: &[("count", "number", "How many values there are."), ("data", "map", "The values.")],
        example: "id: progress
type: io.kestra.plugin.core.state.Get
name: progress
",
    },
    TypeDoc {
        name: core!("state.Delete"),
        doc: "Forgets values that were kept.",
        properties: &[NAME, WHOLE, PER_VALUE],
        outputs: &[("deleted", "boolean", "Whether there were any.")],
        example: "id: forget
type: io.kestra.plugin.core.state.Delete
name: progress
",
    },
    TypeDoc {
        name: core!("storage.Write"),
        doc: "Writes a file.",
        properties: &[("content", "", "Its content."), ("extension", "", "What its name ends with, such as `.csv`.")],
        outputs: &[("uri", "uri", "The file.")],
        example: "id: write
type: io.kestra.plugin.core.storage.Write
content: \"a,b\"
extension: .csv
",
    },
    TypeDoc {
        name: core!("storage.Concat"),
        doc: "Puts files one after another into a new one.",
        properties: &[
            ("files", "", "Their URIs."),
            ("separator", "", "What follows each of them."),
            ("extension", ".tmp", "What the name of the new file ends with."),
        ],
        outputs: &[("uri", "uri", "The new file.")],
        example: "id: concat
type: io.kestra.plugin.core.storage.Concat
files:
  - \"{{ inputs.first }}\"
  - \"{{ inputs.second }}\"
",
    },
    TypeDoc {
        name: core!("storage.Split"),
        doc: "Splits a file by lines.",
        properties: &[
            FROM,
            ("bytes", "", "Size of a part, as a number or a text such as `10MB`."),
            ("partitions", "", "Number of parts."),
            ("rows", "", "Lines of a part."),
            ("regexPattern", "", "Lines with the same first group make a part."),
            SEPARATOR,
        ],
        outputs: &[("uris", "list", "The parts.")],
        example: "id: split
type: io.kestra.plugin.core.storage.Split
from: \"{{ inputs.file }}\"
rows: 1000
",
    },
    TypeDoc {
        name: core!("storage.Reverse"),
        doc: "Turns the order of the lines of a file around.",
        properties: &[FROM, SEPARATOR, ("charset", "UTF-8", "How the file is written.")],
        outputs: &[("uri", "uri", "The new file.")],
        example: "id: reverse
type: io.kestra.plugin.core.storage.Reverse
from: \"{{ inputs.file }}\"
",
    },
    TypeDoc {
        name: core!("storage.FilterItems"),
        doc: "Keeps the items of a file (a line each, JSON or ION) for which a condition holds.",
        properties: &[
            FROM,
            ("filterCondition", "", "An expression over the fields of an item."),
            ("filterType", "INCLUDE", "Keep items for which it holds, or leave them out."),
            ("errorOrNullBehavior", "FAIL", "What becomes of an item for which it cannot be told."),
        ],
        outputs: &[
            ("uri", "uri", "The new file."),
            ("processedItemsTotal", "number", "How many items there were."),
            ("droppedItemsTotal", "number", "How many were left out."),
        ],
        example: "id: filter
type: io.kestra.plugin.core.storage.FilterItems
from: \"{{ inputs.file }}\"
filterCondition: \"{{ amount > 100 }}\"
",
    },
    TypeDoc {
        name: core!("storage.DeduplicateItems"),
        doc: "Keeps the last item of each key of a file (a line each, JSON or ION).",
        properties: &[FROM, ("expr", "", "An expression over the fields of an item: its key.")],
        outputs: &[
            ("uri", "uri", "The new file."),
            ("numKeys", "number", "How many keys there were."),
            ("processedItemsTotal", "number", "How many items there were."),
            ("droppedItemsTotal", "number", "How many were left out."),
        ],
        example: "id: unique
type: io.kestra.plugin.core.storage.DeduplicateItems
from: \"{{ inputs.file }}\"
expr: \"{{ id }}\"
",
    },
    TypeDoc {
        name: core!("storage.Size"),
        doc: "Tells how large a file is.",
        properties: &[("uri", "", "URI of the file.")],
        outputs: &[("size", "number", "Bytes.")],
        example: "id: size
type: io.kestra.plugin.core.storage.Size
uri: \"{{ inputs.file }}\"
",
    },
    TypeDoc {
        name: core!("storage.Delete"),
        doc: "Deletes a file.",
        properties: &[("uri", "", "URI of the file.")],
        outputs: &[("uri", "uri", "The file."), ("deleted", "boolean", "Whether it was there.")],
        example: "id: clean
type: io.kestra.plugin.core.storage.Delete
uri: \"{{ inputs.file }}\"
",
    },
    TypeDoc {
        name: core!("storage.LocalFiles"),
        doc: "Puts files into the folder of a WorkingDirectory, and keeps files of it; an older form of `inputFiles` and `outputFiles`.",
        properties: &[
            ("inputs", "", "Files that are written: content, or URI of a file, by name."),
            ("outputs", "", "Patterns of files that are kept."),
        ],
        outputs: &[("uris", "map", "URIs of the files that were kept, by name.")],
        example: "id: files
type: io.kestra.plugin.core.storage.LocalFiles
inputs:
  hello.txt: hello
",
    },
    TypeDoc {
        name: core!("storage.PurgeCurrentExecutionFiles"),
        doc: "Deletes all files of the execution.",
        properties: &[],
        outputs: &[("uris", "list", "The files that were deleted.")],
        example: "id: clean
type: io.kestra.plugin.core.storage.PurgeCurrentExecutionFiles
",
    },
];
