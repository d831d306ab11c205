//! What differs between any two runs, in what programs print: ages, addresses, UIDs, generated names and the like. All else
//! is left as it is.

use regex::Regex;

/// What is looked for, and what is put in its place; `$1` and so on are groups of what was found.
const PATTERNS: &[(&str, &str)] = &[
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uid>"),
    (r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", "<token>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4}", "<time>"),
    (r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "<time>"),
    (r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", "[<time>]"),
    (r"\b[EWI]\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ ", "<log> "),
    (r"\bsha256:[0-9a-f]{12,64}", "sha256:<digest>"),
    (r"\bwasm://[0-9a-f]{16,64}", "wasm://<id>"),
    (r"\b10\.88\.\d+\.\d+\b", "<pod-ip>"),
    (r"\b10\.(9[6-9]|1[01]\d)\.\d+\.\d+\b", "<cluster-ip>"),
    (r"(127\.0\.0\.1|localhost|\[::1\]):\d{4,5}\b", "$1:<port>"),
    (r"\b(\d+):3[0-2]\d{3}/(TCP|UDP)", "$1:<node-port>/$2"),
    (r"(?m)^(NodePort:.*\s)\d+/(TCP|UDP)$", "$1<node-port>/$2"),
    (r"(nodePort|NodePort)(: |:)\d+", "$1$2<node-port>"),
    (r#"("?(?:resourceVersion|uid)"?: ?)"[^"]*""#, r#"$1"<masked>""#),
    (r"(?m)^(\s*Resource Version:\s+)\d+$", "$1<version>"),
    (r"X509SHA256=[0-9a-f]{64}", "X509SHA256=<digest>"),
    // The letters and digits that Kubernetes makes names of.
    (r"\b([a-z0-9<>][-a-z0-9<>]*)-[bcdfghjklmnpqrstvwxz2456789]{5}\b", "$1-<random>"),
    (r"\b([a-z][-a-z0-9]*)\.[0-9a-f]{16}\b", "$1.<random>"),
    (r"/(LIVE|MERGED)-\d+/", "/$1-<random>/"),
    (r"kubectl-edit-\d+", "kubectl-edit-<random>"),
    (r"(Client Version: v1\.\d+)\.\S+", "$1"),
    (r"Kustomize Version: \S+", "Kustomize Version: <version>"),
    (r"Handling connection for \d+", "Handling connection for <port>"),
    (r"forwarding \d{4,5} -> ", "forwarding <port> -> "),
    (r"Image size: \d+ bytes", "Image size: <size> bytes"),
    (r"(?m)^(  (?:cpu|memory|ephemeral-storage):\s+)\d+(?:Ki)?$", "$1<quantity>"),
    (
        r"(?m)^(  (?:Machine ID|System UUID|Boot ID|Kernel Version|OS Image|Operating System|Architecture):\s+)\S.*$",
        "$1<machine>",
    ),
    (r"\b(kubernetes\.io/(?:arch|os))=\w+", "$1=<machine>"),
    (r"\(\d+%\)", "(<percent>)"),
];

/// An age, or how long something took: by itself, for `timeout=1s` is what somebody has asked for, and no more than
/// minutes, for `100m` is a quantity.
const AGE: &str = r"(?m)(^|[\s(])(?:[2-9]m(?:\d+s)?|\d+m\d+s|\d+s|\d+(?:\.\d+)?(?:ms|µs)|\d+\.\d+s)([\s),.]|$)";

/// Columns are as far apart as what is in them wants.
const COLUMNS: &str = r"(\S) {2,}";
/// What a line is indented by, which is left as it is: in a difference, behind its sign.
const INDENTATION: &str = r"^[-+ ]?\s*";

/// What is masked in a session.
pub(crate) struct Masks {
    words: Vec<(String, String)>,
    patterns: Vec<(Regex, &'static str)>,
    age: Regex,
    columns: Regex,
    indentation: Regex,
    figures: Regex,
}

impl Masks {
    /// The masks of everything that differs everywhere, and of these texts, each with what is put in its place.
    pub(crate) fn new(words: Vec<(String, String)>) -> Self {
        let regex = |pattern: &str| Regex::new(pattern).unwrap();
        let patterns = PATTERNS.iter().map(|(pattern, with)| (regex(pattern), *with)).collect();
        Self {
            words,
            patterns,
            age: regex(AGE),
            columns: regex(COLUMNS),
            indentation: regex(INDENTATION),
            figures: regex(r"\d+(m|Mi|%)"),
        }
    }

    /// What a command has shown, masked. The figures of `top` are another each time.
    pub(crate) fn apply(&self, typed: &str, shown: &str) -> String {
        let mut text = shown.to_owned();
        for (word, with) in &self.words {
            text = replace_word(&text, word, with);
        }
        for (pattern, with) in &self.patterns {
            text = pattern.replace_all(&text, *with).into_owned();
        }
        if typed.contains("kubectl top") {
            text = self.figures.replace_all(&text, "<n>$1").into_owned();
        }
        // Twice, for neighbours share the space between them.
        for _ in 0..2 {
            text = self.age.replace_all(&text, "$1<age>$2").into_owned();
        }
        let lines = text.lines().map(|line| {
            let (indentation, line) = line.split_at(self.indentation.find(line).map_or(0, |found| found.end()));
            format!("{indentation}{}", self.columns.replace_all(line, "$1  ")).trim_end().to_owned() + "\n"
        });
        lines.collect()
    }
}

/// A text wherever it is no part of a longer word.
fn replace_word(text: &str, word: &str, with: &str) -> String {
    let pattern = format!(r"(^|[^-.\w]){}($|[^-.\w]|\.\s|\.$|-[a-z0-9]{{5}}\b)", regex::escape(word));
    let pattern = Regex::new(&pattern.replace("(^", "(?m)(^")).unwrap();
    let once = pattern.replace_all(text, format!("${{1}}{with}$2"));
    pattern.replace_all(&once, format!("${{1}}{with}$2")).into_owned()
}

#[test]
fn what_differs_is_masked_and_nothing_else() {
    let masks = Masks::new(vec![("vm".to_owned(), "<node>".to_owned())]);
    let check =
        |shown: &str, expected: &str| assert_eq!(masks.apply("kubectl get pods", shown), format!("{expected}\n"));
    check(
        "web   1/1     Running   2 (3s ago)   2m5s   10.88.0.7    vm",
        "web  1/1  Running  2 (<age> ago)  <age>  <pod-ip>  <node>",
    );
    check("a      5s    7s", "a  <age>  <age>");
    check("-    name: web", "-    name: web");
    check("x-vm-4ldxb vm-4ldxb", "x-vm-<random> <node>-<random>");
    check("front-4ldxb   web-server", "front-<random>  web-server");
    check("assigned default/web to vm.", "assigned default/web to <node>.");
    check("delay=0s timeout=1s   cpu: 100m, vm-like", "delay=0s timeout=1s  cpu: 100m, vm-like");
    check("Forwarding from 127.0.0.1:43211 -> 80", "Forwarding from 127.0.0.1:<port> -> 80");
    check("  resourceVersion: \"17\"", "  resourceVersion: \"<masked>\"");
    check(
        "web   NodePort   10.96.4.5   <none>   80:31234/TCP",
        "web  NodePort  <cluster-ip>  <none>  80:<node-port>/TCP",
    );
}
