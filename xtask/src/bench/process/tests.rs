use super::*;

fn stat(parent: i32) -> Stat {
    Stat { parent, ended_children: 0.0, started: 7 }
}

#[test]
fn a_stat_is_read_whatever_the_process_calls_itself() {
    let text = "42 (a) b (c) S 7 42 42 0 -1 4194304 1 2 3 4 100 200 150 50 20 0 1 0 9000 1 2";
    assert_eq!(parse_stat(text), Some(Stat { parent: 7, ended_children: 2.0, started: 9000 }));
    assert_eq!(parse_stat("42 (cut"), None);
}

#[test]
fn a_family_is_a_process_with_its_descendants() {
    let stats = BTreeMap::from([(1, stat(0)), (5, stat(1)), (6, stat(5)), (7, stat(6)), (8, stat(1))]);
    assert_eq!(members(5, &stats).into_keys().collect::<Vec<_>>(), [5, 6, 7]);
    assert!(members(9, &stats).is_empty());
}

#[test]
fn a_process_runs_where_it_is_put_and_its_cpu_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let core = our_cores().unwrap()[0];
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; grep Cpus_allowed_list /proc/self/status; read wait",
    ]);
    let (process, mut output) =
        Process::start_talking("sh", &mut command, &[core], &directory.path().join("log")).unwrap();
    assert_eq!(process.line(&mut output).unwrap(), format!("Cpus_allowed_list:\t{core}"));
    assert!(process.cpu_seconds().unwrap() > 0.001);
    assert!(process.memory().unwrap() > 10_000);
    process.let_go();
}
