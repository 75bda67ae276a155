use super::*;

const ACCOUNT: AccountId = AccountId(1);

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_000_000_000_000 + seconds * 1_000_000)
}

fn trouble(kind: AlarmKind, stage: u8) -> Trouble {
    Trouble { kind, about: "it".into(), stage, since: None, said: "It is so.".into(), todo: "Do it.".into() }
}

fn looked(wrong: Vec<Trouble>) -> Looked {
    Looked { wrong, kinds: AlarmKind::ALL.into(), unknown: HashSet::new() }
}

/// A world in which what is to be told is told.
#[derive(Default)]
struct World {
    spells: Spells,
    told: Vec<TroubleRow>,
}

impl World {
    fn see(&mut self, looked: &Looked, seconds: u64) -> String {
        let tellings = self.spells.judge(ACCOUNT, looked, &self.told, at(seconds));
        let mut said = Vec::new();
        for telling in tellings {
            match telling {
                Telling::Begun(trouble, since) => {
                    said.push(format!("begun since {}", (since.0 - at(0).0) / 1_000_000));
                    self.put(&trouble, since);
                }
                Telling::Worse(trouble, since) => {
                    said.push(format!("worse {}", trouble.stage));
                    self.told.clear();
                    self.put(&trouble, since);
                }
                Telling::Over(row) => {
                    said.push("over".into());
                    self.told.retain(|told| *told != row);
                }
            }
        }
        said.join(", ")
    }

    fn put(&mut self, trouble: &Trouble, since: Timestamp) {
        let Trouble { kind, about, stage, said, .. } = trouble.clone();
        self.told.push(TroubleRow { account: ACCOUNT, kind, about, stage, since, said });
    }

    fn wrong(&mut self, kind: AlarmKind, stage: u8, seconds: u64) -> String {
        self.see(&looked(vec![trouble(kind, stage)]), seconds)
    }

    fn well(&mut self, seconds: u64) -> String {
        self.see(&looked(vec![]), seconds)
    }

    /// As a process begins: what was told is stored, the rest is forgotten.
    fn restart(&mut self) {
        self.spells = Spells::default();
    }
}

#[test]
fn each_thing_is_told_once_when_it_begins_and_once_when_it_is_over() {
    let mut world = World::default();
    assert_eq!(world.wrong(AlarmKind::Quota, 1, 0), "begun since 0");
    for seconds in [2, 4, 100_000] {
        assert_eq!(world.wrong(AlarmKind::Quota, 1, seconds), "");
    }
    assert_eq!(world.wrong(AlarmKind::Quota, 2, 100_002), "worse 2");
    assert_eq!(world.wrong(AlarmKind::Quota, 2, 100_004), "");
    assert_eq!(world.wrong(AlarmKind::Quota, 1, 100_006), "", "better, and not well");
    assert_eq!(world.well(100_008), "over");
    assert_eq!(world.well(100_010), "");
    assert_eq!(world.wrong(AlarmKind::Quota, 1, 100_012), "begun since 100012");
}

#[test]
fn a_restart_repeats_nothing_and_forgets_nothing() {
    for kind in AlarmKind::ALL {
        let mut world = World::default();
        world.wrong(kind, 1, 0);
        let begun = world.wrong(kind, 1, 300);
        assert!(begun.is_empty() || begun == "begun since 0", "{kind:?} {begun}");
        world.restart();
        for seconds in [301, 400, 10_000] {
            assert_eq!(world.wrong(kind, 1, seconds), "", "{kind:?}");
        }
        world.restart();
        let said: Vec<String> = [10_001, 10_100, 10_200, 10_300].map(|seconds| world.well(seconds)).into();
        assert_eq!(said.iter().filter(|said| *said == "over").count(), 1, "{kind:?} {said:?}");
        assert!(world.told.is_empty());
    }
}

#[test]
fn an_origin_that_flaps_is_one_trouble() {
    let mut world = World::default();
    // A restart of the app.
    assert_eq!(world.wrong(AlarmKind::Origin, 1, 0), "");
    assert_eq!(world.wrong(AlarmKind::Origin, 1, 50), "");
    assert_eq!((world.well(55), world.well(180)), (String::new(), String::new()));
    // Down for long.
    assert_eq!(world.wrong(AlarmKind::Origin, 1, 200), "");
    assert_eq!(world.wrong(AlarmKind::Origin, 1, 259), "");
    assert_eq!(world.wrong(AlarmKind::Origin, 1, 260), "begun since 200");
    // Now and then well, never for long.
    for seconds in (300..3_000).step_by(60) {
        assert_eq!(world.well(seconds), "", "{seconds}");
        assert_eq!(world.wrong(AlarmKind::Origin, 1, seconds + 30), "", "{seconds}");
    }
    assert_eq!((world.well(3_010), world.well(3_080)), (String::new(), String::new()));
    assert_eq!(world.well(3_090), "over");
    // Up and down in turn from the start is trouble as well.
    let mut world = World::default();
    let mut said = Vec::new();
    for seconds in (0..200).step_by(20) {
        said.push(world.wrong(AlarmKind::Origin, 1, seconds));
        said.push(world.well(seconds + 10));
    }
    said.retain(|said| !said.is_empty());
    assert_eq!(said, ["begun since 0"]);
}

#[test]
fn what_nobody_knows_is_neither_wrong_nor_over() {
    let mut world = World::default();
    assert_eq!(world.wrong(AlarmKind::Stopped, 1, 0), "begun since 0");
    let blind = Looked::default();
    assert_eq!(world.see(&blind, 10_000), "");
    let unsure = Looked { unknown: [(AlarmKind::Stopped, "it".into())].into(), ..looked(vec![]) };
    assert_eq!(world.see(&unsure, 20_000), "");
    assert_eq!(world.well(20_001), "over");
    // Not known for a while after a restart, and down all the time.
    let mut world = World::default();
    world.wrong(AlarmKind::Origin, 1, 0);
    assert_eq!(world.wrong(AlarmKind::Origin, 1, 60), "begun since 0");
    world.restart();
    let unsure = Looked { unknown: [(AlarmKind::Origin, "it".into())].into(), ..looked(vec![]) };
    for seconds in [100, 500, 1_000] {
        assert_eq!(world.see(&unsure, seconds), "");
    }
    assert_eq!(world.wrong(AlarmKind::Origin, 1, 1_001), "");
}

#[test]
fn since_when_is_what_is_known_best() {
    let mut world = World::default();
    let known = Trouble { since: Some(at(0)), ..trouble(AlarmKind::NeverUsed, 1) };
    assert_eq!(world.see(&looked(vec![known]), 700_000), "begun since 0");
}
