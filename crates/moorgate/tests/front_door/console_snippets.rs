//! Each snippet of the outbound helper, as its page shows it, run by the program that it is for, through a live gateway.

mod beyond;
mod web;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use tempfile::TempDir;

use crate::{
    console::{Browser, pictures},
    gateway::{Gateway, MOORGATE},
    tools::{packages, python_at, tool},
};

/// What is not run as it is, and why.
const NOT_RUN: [(&str, &str); 1] =
    [("dotnet", "no registry of the tests has .NET: it was read against its documentation")];

/// The helper, for somebody who is signed in.
struct Helper<'a> {
    gateway: &'a Gateway,
    browser: Browser,
    directory: TempDir,
}

/// What a page shows as code.
struct Shown {
    file: Option<String>,
    code: String,
}

impl<'a> Helper<'a> {
    fn new(gateway: &'a Gateway) -> Self {
        let browser = Browser::invited(gateway, &[], "ops@example.com");
        Self { gateway, browser, directory: TempDir::new().unwrap() }
    }

    /// The names of all snippets, as they stand in the links of their kind.
    fn names(&self, kind: &str) -> Vec<String> {
        let page = self.browser.get(&format!("/a/default/connect?to={kind}")).body;
        let links = page.split("&amp;with=").skip(1);
        links.map(|link| link.split('&').next().unwrap().to_owned()).collect()
    }

    /// What is shown of one, going to this host; empty: to where it goes by itself.
    fn shown(&self, kind: &str, name: &str, target: &str) -> Shown {
        let target: String = target.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let page = self.browser.get(&format!("/a/default/connect?to={kind}&with={name}&target={target}")).body;
        let between = |from: &str, to: &str| Some(page.split_once(from)?.1.split_once(to)?.0.to_owned());
        let file = between("Save it as <code>", "</code>");
        let code = between("<pre id=\"code\" tabindex=\"0\"><code>", "</code></pre>");
        Shown { file, code: unescaped(&code.unwrap_or_else(|| panic!("{name}: {page}"))) }
    }

    /// How a developer would run it, who has saved it as the page says.
    fn command(&self, name: &str, at: &str, shown: &Shown) -> Command {
        let directory = self.directory.path().join(format!("{name}-{at}"));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join(shown.file.as_deref().unwrap_or("command.sh"));
        fs::write(&file, &shown.code).unwrap();
        let mut command = match file.extension().unwrap().to_str().unwrap() {
            "sh" => with("sh", &[], &file),
            "py" => python_at(&file),
            "mjs" | "cjs" => {
                // Node looks for packages beside the file.
                let copy = packages().join(format!("{name}-{at}-{}", file.file_name().unwrap().display()));
                fs::copy(&file, &copy).unwrap();
                with("node", &[], &copy)
            }
            "go" => {
                let mut go = with("go", &["run"], &file);
                go.env("GOCACHE", pictures().join("go")).env("GO111MODULE", "off");
                go
            }
            "rb" => with("ruby", &[], &file),
            "php" => with("php", &[], &file),
            "java" => with("java", &[], &file),
            "rs" => tool(Path::new(MOORGATE).with_file_name("examples").join("reqwest")),
            other => panic!("{name}: nothing runs .{other}"),
        };
        let bin = Path::new(MOORGATE).parent().unwrap();
        let system = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin"].map(PathBuf::from);
        let path = [self.directory.path().join("bin"), bin.to_owned()].into_iter().chain(system);
        command.env("PATH", std::env::join_paths(path).unwrap()).envs(self.gateway.env());
        command.env("HOME", self.directory.path()).current_dir(directory);
        command
    }
}

fn with(program: &str, arguments: &[&str], file: &Path) -> Command {
    let mut command = tool(program);
    command.args(arguments).arg(file);
    command
}

fn unescaped(html: &str) -> String {
    let all = [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")];
    all.iter().fold(html.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

/// A server of the system's. Ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_snippet_is_run_or_said_not_to_be() {
    let gateway = Gateway::start();
    let helper = Helper::new(&gateway);
    let mut all: Vec<String> = ["web", "database", "sftp", "mail"].iter().flat_map(|kind| helper.names(kind)).collect();
    let mut known: Vec<String> = web::RUN.iter().chain(&beyond::RUN).map(ToString::to_string).collect();
    known.extend(NOT_RUN.map(|(name, _)| name.to_owned()));
    all.sort();
    known.sort();
    assert_eq!(all, known);
}
