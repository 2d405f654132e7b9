//! Experiments as the server runs them: which there are, which surfaces they touch, which arms a
//! request is in.
//!
//! They come from `[[experiment]]` in `segue.toml`, and from files in the home's `experiments/`,
//! which `segue experiment start | ramp | stop` writes and a reload reads: no restart. A file that
//! cannot be used is refused and said; the others run.
//!
//! An arm is written into the record of every slate it could have changed, and only there: that is
//! the exposure. An experiment whose arms change Home alone exposes nobody on Now Playing.

use std::collections::BTreeSet;
use std::path::Path;

use segue_experiment::{Allocation, Attributes, ExperimentSpec, HoldoutSpec, Units};
use segue_types::api::{ArmStatus, ExperimentStatus};
use segue_types::{Surface, TimestampMs};
use serde::{Deserialize, Serialize};

use crate::config::EngineConfig;
use crate::overlay;

/// Folder of a home.
pub const FOLDER: &str = "experiments";
/// Most experiments at once; a request looks at each.
pub const MAX_EXPERIMENTS: usize = 1_000;
/// Most bytes of one file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// One file `experiments/NAME.toml`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ExperimentFile {
    /// Who is in which arm, and what the arms change.
    pub experiment: ExperimentSpec,
    /// What became of it.
    #[serde(default)]
    pub life: Life,
    /// Other tables, such as the analysis; kept as they are.
    #[serde(flatten)]
    pub rest: toml::Table,
}

/// `[life]`: written by `segue experiment start`, `ramp` and `stop`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Life {
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<TimestampMs>,
    /// When it was stopped; nobody is assigned after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<TimestampMs>,
    /// Every change of the ramp, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ramps: Vec<RampStep>,
}

/// One change of the ramp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RampStep {
    /// When.
    pub at: TimestampMs,
    /// Share admitted from then on, in `[0, 1]`.
    pub ramp: f64,
}

impl ExperimentFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        let name = &file.experiment.name;
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if name.is_empty() || name.len() > 100 || !name.bytes().all(is_plain) {
            return Err(format!(
                "`experiment.name` is `{name}`; a name is 1 to 100 letters, digits, `_` or `-`"
            ));
        }
        if file.experiment.arms.iter().any(|arm| arm.name.contains(['=', '\n'])) {
            return Err("`experiment.arms`: the name of an arm has no `=`".to_owned());
        }
        Ok(file)
    }

    /// Admits `ramp` of the eligible units from `now` on.
    ///
    /// # Errors
    /// If it was stopped, or the ramp would go down: that would take listeners out whose
    /// experience has begun.
    pub fn set_ramp(&mut self, ramp: f64, now: TimestampMs) -> Result<(), String> {
        if !(0.0..=1.0).contains(&ramp) {
            return Err(format!("the ramp is {ramp}; it is a share in [0, 1]"));
        }
        if self.life.stopped_at.is_some() {
            return Err(format!("experiment `{}` was stopped", self.experiment.name));
        }
        if ramp < self.experiment.ramp {
            return Err(format!(
                "the ramp of `{}` is {} and cannot go down to {ramp}: listeners who are in would fall out in the middle; stop it instead",
                self.experiment.name, self.experiment.ramp
            ));
        }
        self.experiment.ramp = ramp;
        self.life.ramps.push(RampStep { at: now, ramp });
        Ok(())
    }

    /// Assigns nobody from `now` on.
    ///
    /// # Errors
    /// If it was stopped before.
    pub fn stop(&mut self, now: TimestampMs) -> Result<(), String> {
        if let Some(at) = self.life.stopped_at {
            return Err(format!("experiment `{}` was stopped at {} ms", self.experiment.name, at.0));
        }
        self.life.stopped_at = Some(now);
        Ok(())
    }
}

/// Reads `experiments/*.toml` of a home, in the order they were started (ties by name), and says
/// which files could not be read.
#[must_use]
pub fn read_folder(home: &Path) -> (Vec<ExperimentFile>, Vec<String>) {
    let folder = home.join(FOLDER);
    let mut paths: Vec<_> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(_) => return (Vec::new(), Vec::new()),
    };
    paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    let (mut files, mut notes) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = match std::fs::metadata(&path) {
            Ok(meta) if meta.len() > MAX_FILE_BYTES => {
                Err(format!("{} bytes; at most {MAX_FILE_BYTES}", meta.len()))
            }
            Ok(_) => std::fs::read_to_string(&path).map_err(|e| e.to_string()),
            Err(e) => Err(e.to_string()),
        };
        match text.and_then(|text| ExperimentFile::parse(&text)) {
            Ok(file) => files.push(file),
            Err(e) => notes.push(format!("{FOLDER}/{name}: not used: {e}")),
        }
    }
    files.sort_by(|a, b| {
        (a.life.started_at, &a.experiment.name).cmp(&(b.life.started_at, &b.experiment.name))
    });
    (files, notes)
}

/// One experiment beside its place in the allocation.
#[derive(Debug, Clone)]
struct Line {
    spec: ExperimentSpec,
    life: Life,
    /// Why it does not run, though it was not stopped.
    refused: Option<String>,
    surfaces: Vec<Surface>,
    /// Index in the allocation; absent if refused there.
    allocated: Option<usize>,
}

impl Line {
    fn runs(&self) -> bool {
        self.refused.is_none() && self.life.stopped_at.is_none() && self.allocated.is_some()
    }
}

/// All experiments of a home, solved.
#[derive(Debug, Clone)]
pub struct Experiments {
    lines: Vec<Line>,
    allocation: Allocation,
}

/// The arm a request is in: index of the experiment and of its arm.
pub type Assigned = (usize, usize);

impl Experiments {
    /// Solves the experiments of the configuration, then those of the files, in the order given.
    ///
    /// Refused is one whose arms do not make a configuration, whose name is taken, which finds no
    /// room, or which changes a setting that another one changes for the same units: two that
    /// share a setting have to share an exclusion group.
    #[must_use]
    pub fn solve(config: &EngineConfig, files: &[ExperimentFile]) -> Self {
        let of_config = config.experiment.iter().map(|spec| (spec.clone(), Life::default()));
        let of_files = files.iter().map(|file| (file.experiment.clone(), file.life.clone()));
        let mut lines: Vec<Line> = Vec::new();
        for (spec, life) in of_config.chain(of_files) {
            let (surfaces, mut refused) = match surfaces_of(config, &spec) {
                Ok(surfaces) => (surfaces, None),
                Err(e) => (Vec::new(), Some(e)),
            };
            if lines.len() >= MAX_EXPERIMENTS {
                refused.get_or_insert_with(|| {
                    format!("there are {MAX_EXPERIMENTS} before it, and no more run at once")
                });
            }
            if refused.is_none() && life.stopped_at.is_none() {
                refused = clash(&lines, &spec);
            }
            lines.push(Line { spec, life, refused, surfaces, allocated: None });
        }
        // All at once; only where that fails one after another, to find which to leave out.
        let usable: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].refused.is_none()).collect();
        let all: Vec<ExperimentSpec> = usable.iter().map(|&i| lines[i].spec.clone()).collect();
        let mut allocation = Allocation::default();
        match Allocation::solve(&all, &holdouts_of(config, &all)) {
            Ok(solved) => {
                allocation = solved;
                for (at, &i) in usable.iter().enumerate() {
                    lines[i].allocated = Some(at);
                }
            }
            Err(_) => {
                let mut specs: Vec<ExperimentSpec> = Vec::new();
                for &i in &usable {
                    specs.push(lines[i].spec.clone());
                    match Allocation::solve(&specs, &holdouts_of(config, &specs)) {
                        Ok(solved) => {
                            allocation = solved;
                            lines[i].allocated = Some(specs.len() - 1);
                        }
                        Err(e) => {
                            specs.pop();
                            lines[i].refused = Some(e.to_string());
                        }
                    }
                }
            }
        }
        Self { lines, allocation }
    }

    /// Why experiments do not run, one line each.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let line = |l: &Line| Some(format!("experiment `{}`: refused: {}", l.spec.name, l.refused.as_ref()?));
        self.lines.iter().filter_map(line).collect()
    }

    /// The arms of a request, in the order of the experiments.
    pub fn assign<'a>(
        &'a self,
        surface: Surface,
        units: &'a Units<'a>,
        attributes: &'a Attributes<'a>,
    ) -> impl Iterator<Item = Assigned> + 'a {
        self.lines.iter().enumerate().filter_map(move |(i, line)| {
            if !line.runs() || !line.surfaces.contains(&surface) {
                return None;
            }
            let experiment = &self.allocation.experiments()[line.allocated?];
            Some((i, experiment.assign(units, attributes)?))
        })
    }

    /// `experiment=arm`.
    #[must_use]
    pub fn label(&self, (experiment, arm): Assigned) -> String {
        let spec = &self.lines[experiment].spec;
        format!("{}={}", spec.name, spec.arms[arm].name)
    }

    /// The arm of a label; `None` if there is no such experiment or arm any more.
    #[must_use]
    pub fn find(&self, label: &str) -> Option<Assigned> {
        let (name, arm) = label.split_once('=')?;
        let i = self.lines.iter().position(|l| l.spec.name == name && l.refused.is_none())?;
        Some((i, self.lines[i].spec.arms.iter().position(|a| a.name == arm)?))
    }

    /// Whether an arm changes anything.
    #[must_use]
    pub fn changes(&self, (experiment, arm): Assigned) -> bool {
        !self.lines[experiment].spec.arms[arm].config.is_empty()
    }

    /// `base` as these arms change it.
    ///
    /// # Errors
    /// If the arms together do not make a configuration.
    pub fn configuration(&self, base: &EngineConfig, arms: &[Assigned]) -> Result<EngineConfig, String> {
        overlay::lay_over(base, arms.iter().map(|&(e, a)| &self.lines[e].spec.arms[a].config))
    }

    /// Every arm that runs and changes something.
    pub fn running_arms(&self) -> impl Iterator<Item = Assigned> + '_ {
        let runs = self.lines.iter().enumerate().filter(|(_, line)| line.runs());
        runs.flat_map(|(e, line)| (0..line.spec.arms.len()).map(move |a| (e, a)))
            .filter(|&arm| self.changes(arm))
    }

    /// What the server says of them; `deployment_of` names the deployment of one arm alone.
    #[must_use]
    pub fn status(&self, home: &Path, deployment_of: impl Fn(Assigned) -> String) -> Vec<ExperimentStatus> {
        let of = |(e, line): (usize, &Line)| {
            let spec = &line.spec;
            let total: f64 = spec.arms.iter().map(|arm| arm.weight).sum();
            let arms = spec.arms.iter().enumerate().map(|(a, arm)| ArmStatus {
                name: arm.name.clone(),
                share: if total > 0.0 { arm.weight / total } else { 0.0 },
                deployment_id: if line.refused.is_none() { deployment_of((e, a)) } else { String::new() },
            });
            ExperimentStatus {
                name: spec.name.clone(),
                status: match (&line.refused, line.life.stopped_at) {
                    (Some(_), _) => "refused",
                    (None, Some(_)) => "stopped",
                    (None, None) => "running",
                }
                .to_owned(),
                detail: line.refused.clone(),
                unit: spec.unit.name().to_owned(),
                ramp: spec.ramp,
                surfaces: line.surfaces.clone(),
                arms: arms.collect(),
                started_at: line.life.started_at,
                stopped_at: line.life.stopped_at,
                has_report: report_path(home, &spec.name).is_some_and(|path| path.is_file()),
            }
        };
        self.lines.iter().enumerate().map(of).collect()
    }
}

/// Where the report of an experiment lies; `None` if the name is not one.
#[must_use]
pub fn report_path(home: &Path, name: &str) -> Option<std::path::PathBuf> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let is_name = !name.is_empty() && name.len() <= 100 && name.bytes().all(is_plain);
    is_name.then(|| home.join(FOLDER).join(format!("{name}.html")))
}

/// The surfaces an experiment's arms can change; both where no arm changes anything (A/A).
fn surfaces_of(config: &EngineConfig, spec: &ExperimentSpec) -> Result<Vec<Surface>, String> {
    let mut surfaces: Vec<Surface> = Vec::new();
    for arm in &spec.arms {
        overlay::lay_over(config, [&arm.config]).map_err(|e| format!("arm `{}`: {e}", arm.name))?;
        for surface in overlay::paths(&arm.config).iter().flat_map(|path| overlay::surfaces_of(path)) {
            if !surfaces.contains(&surface) {
                surfaces.push(surface);
            }
        }
    }
    if surfaces.is_empty() {
        surfaces = vec![Surface::Home, Surface::NowPlaying];
    }
    Ok(surfaces)
}

/// An experiment before `spec` that runs, changes a setting `spec` changes, and may meet its units.
fn clash(lines: &[Line], spec: &ExperimentSpec) -> Option<String> {
    let paths_of = |spec: &ExperimentSpec| -> BTreeSet<String> {
        spec.arms.iter().flat_map(|arm| overlay::paths(&arm.config)).collect()
    };
    let mine = paths_of(spec);
    lines.iter().filter(|l| l.refused.is_none() && l.life.stopped_at.is_none()).find_map(|other| {
        if other.spec.exclusion_groups.iter().any(|group| spec.exclusion_groups.contains(group)) {
            return None;
        }
        let theirs = paths_of(&other.spec);
        let shared = mine.iter().find(|a| theirs.iter().any(|b| overlay::meets(a, b)))?;
        Some(format!(
            "it changes `{shared}`, which `{}` changes too; give both the same `exclusion_groups`",
            other.spec.name
        ))
    })
}

/// The holdouts, without names of experiments that are not there any more.
fn holdouts_of(config: &EngineConfig, specs: &[ExperimentSpec]) -> Vec<HoldoutSpec> {
    let keep = |holdout: &HoldoutSpec| {
        let mut holdout = holdout.clone();
        let was_all = holdout.experiments.is_empty();
        holdout.experiments.retain(|name| specs.iter().any(|spec| spec.name == *name));
        (was_all || !holdout.experiments.is_empty()).then_some(holdout)
    };
    config.holdout.iter().filter_map(keep).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> ExperimentFile {
        ExperimentFile::parse(text).unwrap()
    }

    fn shelf_test(name: &str, path: &str) -> ExperimentFile {
        file(&format!(
            "[experiment]\nname = \"{name}\"\n[[experiment.arms]]\nname = \"control\"\n\
             [[experiment.arms]]\nname = \"new\"\n[experiment.arms.config.{path}]\nepsilon = 0.2\n"
        ))
    }

    fn arms(experiments: &Experiments, surface: Surface, user: &str) -> Vec<String> {
        let units = Units::user(user);
        experiments.assign(surface, &units, &Attributes::default()).map(|a| experiments.label(a)).collect()
    }

    #[test]
    fn an_arm_is_an_exposure_only_on_the_surface_it_can_change() {
        let e =
            Experiments::solve(&EngineConfig::default(), &[shelf_test("a", "surface.home.shelf.popular")]);
        assert!(e.notes().is_empty(), "{:?}", e.notes());
        let home: Vec<_> = (0..200).flat_map(|u| arms(&e, Surface::Home, &format!("u{u}"))).collect();
        assert_eq!(home.len(), 200);
        assert!(home.iter().any(|a| a == "a=new") && home.iter().any(|a| a == "a=control"));
        assert!(arms(&e, Surface::NowPlaying, "u1").is_empty());
    }

    #[test]
    fn two_that_change_one_setting_need_one_exclusion_group() {
        let at = "surface.home.shelf.popular";
        let mut two = [shelf_test("a", at), shelf_test("b", at)];
        let e = Experiments::solve(&EngineConfig::default(), &two);
        assert!(e.notes()[0].contains("exclusion_groups"), "{:?}", e.notes());
        assert!((0..50).all(|u| arms(&e, Surface::Home, &format!("u{u}")).len() == 1));
        for file in &mut two {
            file.experiment.exclusion_groups = vec!["home".to_owned()];
            file.experiment.share = 0.5;
        }
        let e = Experiments::solve(&EngineConfig::default(), &two);
        assert!(e.notes().is_empty(), "{:?}", e.notes());
        assert!((0..200).all(|u| arms(&e, Surface::Home, &format!("u{u}")).len() <= 1));
    }

    #[test]
    fn a_wrong_arm_is_refused_and_the_others_run() {
        let wrong = shelf_test("wrong", "surface.home.shelf.nothing");
        let e = Experiments::solve(
            &EngineConfig::default(),
            &[wrong, shelf_test("good", "surface.home.shelf.popular")],
        );
        assert!(e.notes()[0].contains("`wrong`") && e.notes()[0].contains("nothing"), "{:?}", e.notes());
        assert!(arms(&e, Surface::Home, "ada")[0].starts_with("good="));
        let mut narrow = shelf_test("narrow", "surface.home.shelf.popular");
        narrow.experiment.ramp = 7.0;
        let e = Experiments::solve(&EngineConfig::default(), &[narrow]);
        assert!(e.notes()[0].contains("ramp"), "{:?}", e.notes());
    }

    #[test]
    fn a_stopped_one_assigns_nobody_and_cannot_be_ramped() {
        let mut f = shelf_test("a", "surface.home.shelf.popular");
        f.experiment.ramp = 0.1;
        f.set_ramp(0.5, TimestampMs(5)).unwrap();
        assert!(f.set_ramp(0.2, TimestampMs(6)).unwrap_err().contains("stop it"));
        f.stop(TimestampMs(7)).unwrap();
        assert!(f.stop(TimestampMs(8)).is_err());
        assert!(f.set_ramp(0.9, TimestampMs(9)).unwrap_err().contains("was stopped"));
        let e = Experiments::solve(&EngineConfig::default(), &[f.clone()]);
        assert!((0..50).all(|u| arms(&e, Surface::Home, &format!("u{u}")).is_empty()));
        let text = toml::to_string(&f).unwrap();
        assert_eq!(ExperimentFile::parse(&text).unwrap(), f);
    }

    #[test]
    fn a_name_that_would_leave_the_folder_is_refused() {
        for name in ["", "../x", "a/b", "a b"] {
            assert!(report_path(Path::new("home"), name).is_none(), "{name}");
            let text = format!("[experiment]\nname = \"{name}\"\narms = []\n");
            assert!(ExperimentFile::parse(&text).is_err(), "{name}");
        }
    }
}
