//! Volumes as a container finds them: set up from YAML, mounted, read through a mount table.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{Mode as RawMode, OFlags};

use super::*;
use crate::vfs::{Dir, FileKind, MountTable, OpenOptions, Opened};

/// Objects by name; the namespace is always `ns`.
#[derive(Default)]
struct Objects {
    config_maps: Mutex<HashMap<String, ConfigMap>>,
    secrets: HashMap<String, Secret>,
    claims: Vec<String>,
    /// For whom tokens were issued.
    issued: Mutex<Vec<Option<String>>>,
    /// Why none is issued now.
    issues_none: Mutex<Option<String>>,
}

impl Sources for Objects {
    fn config_map(&self, namespace: &str, name: &str) -> Option<ConfigMap> {
        (namespace == "ns").then(|| self.config_maps.lock().unwrap().get(name).cloned())?
    }
    fn secret(&self, namespace: &str, name: &str) -> Option<Secret> {
        (namespace == "ns").then(|| self.secrets.get(name).cloned())?
    }
    fn has_claim(&self, _namespace: &str, name: &str) -> bool {
        self.claims.iter().any(|claim| claim == name)
    }
    fn service_account_token(&self, request: &TokenRequest) -> Result<IssuedToken, String> {
        if let Some(why) = &*self.issues_none.lock().unwrap() {
            return Err(why.clone());
        }
        let mut issued = self.issued.lock().unwrap();
        issued.push(request.audience.clone());
        let begun = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(3000 * (issued.len() as i64 - 1));
        let expires_at = begun + jiff::SignedDuration::from_secs(request.seconds);
        Ok(IssuedToken { token: format!("token {}", issued.len()), expires_at })
    }
}

struct Downward;

impl DownwardSource for Downward {
    fn field(&self, field_ref: &ObjectFieldSelector) -> Result<String, String> {
        match field_ref.field_path.as_str() {
            "metadata.labels" => Ok("app=\"web\"".to_owned()),
            path => Err(format!("unsupported fieldPath: {path}")),
        }
    }
    fn resource(&self, resource_field_ref: &ResourceFieldSelector) -> Result<String, String> {
        Ok(format!("{} of it", resource_field_ref.resource))
    }
}

struct Scene {
    scratch: tempfile::TempDir,
    objects: Objects,
    volumes: PodVolumes,
    fs_group: Option<u32>,
    policy: GroupChangePolicy,
    one_user: Option<u32>,
    now: Timestamp,
}

impl Scene {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let volumes = PodVolumes::new(&scratch.path().join("pod"));
        let mut objects = Objects { claims: vec!["data".to_owned()], ..Objects::default() };
        objects.secrets.insert("s".to_owned(), yaml("data: {user: YWRtaW4=, pass: aHVudGVyMg==}"));
        let scene = Self {
            scratch,
            objects,
            volumes,
            fs_group: None,
            policy: GroupChangePolicy::Always,
            one_user: None,
            now: Timestamp::UNIX_EPOCH,
        };
        scene.put("c", "{data: {a: A, b: B}, binaryData: {bin: AAE=}}");
        scene
    }

    fn put(&self, name: &str, config_map: &str) {
        self.objects.config_maps.lock().unwrap().insert(name.to_owned(), yaml(config_map));
    }

    fn context(&self) -> VolumeContext<'_> {
        VolumeContext {
            namespace: "ns",
            data_directory: self.scratch.path(),
            memory_limit: 1 << 20,
            mount_memory: None,
            fs_group: self.fs_group,
            fs_group_change_policy: self.policy,
            one_user: self.one_user,
            now: self.now,
            sources: &self.objects,
            downward: &Downward,
        }
    }

    fn set_up(&self, volume: &str) -> Result<(), String> {
        self.volumes.set_up(&yaml(volume), &self.context()).map_err(|error| error.to_string())
    }

    fn host_mounts(&self, mounts: &str) -> Result<Vec<HostMount>, String> {
        self.volumes.host_mounts_for("main", &yaml::<Vec<_>>(mounts), &expand).map_err(|error| error.to_string())
    }

    fn mounts(&self, mounts: &str) -> Result<Dir, String> {
        let mounts: Vec<VolumeMount> = yaml(mounts);
        let mounts = self.volumes.mounts_for("main", &mounts, &expand).map_err(|error| error.to_string())?;
        let table = mounts
            .into_iter()
            .fold(MountTable::builder(TreeFs::in_memory(1 << 20)), |table, mount| mount.add_to(table));
        Ok(table.build().unwrap().root())
    }
}

fn expand(expression: &str) -> Result<String, String> {
    match expression {
        "$(NAME)" => Ok("expanded".to_owned()),
        _ => Err("missing value for X".to_owned()),
    }
}

fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_yaml::from_str(text).unwrap()
}

fn open(root: &Dir, path: &str, write: bool) -> Result<crate::vfs::File, Errno> {
    let options = OpenOptions { read: true, write, create: write, follow: true, mode: 0o644, ..Default::default() };
    match root.open(path, options)? {
        Opened::File(file) => Ok(file),
        Opened::Dir(_) => Err(Errno::IsDirectory),
    }
}

fn read(root: &Dir, path: &str) -> Result<String, Errno> {
    Ok(String::from_utf8_lossy(&open(root, path, false)?.contents()?).into_owned())
}

fn names(root: &Dir, path: &str) -> Vec<String> {
    let options = OpenOptions { read: true, directory: true, follow: true, ..Default::default() };
    let Ok(Opened::Dir(dir)) = root.open(path, options) else { panic!("{path} is no directory") };
    let names = dir.entries().unwrap().into_iter().map(|entry| entry.name);
    names.filter(|name| !name.starts_with("..")).collect()
}

#[test]
fn volumes_from_objects_have_their_files() {
    /// Path, contents, permission bits.
    type Expected = &'static [(&'static str, &'static str, u32)];
    let cases: [(&str, Expected); 7] = [
        ("{name: v, configMap: {name: c}}", &[("a", "A", 0o644), ("b", "B", 0o644), ("bin", "\0\u{1}", 0o644)]),
        (
            "{name: v, configMap: {name: c, defaultMode: 256, items: [{key: a, path: x/y/z}, {key: b, path: b, mode: 511}]}}",
            &[("b", "B", 0o777), ("x/y/z", "A", 0o400)],
        ),
        ("{name: v, secret: {secretName: s}}", &[("pass", "hunter2", 0o644), ("user", "admin", 0o644)]),
        ("{name: v, secret: {secretName: none, optional: true}}", &[]),
        (
            "{name: v, configMap: {name: c, optional: true, items: [{key: none, path: n}, {key: a, path: a}]}}",
            &[("a", "A", 0o644)],
        ),
        (
            "{name: v, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}},
             {path: cpu, resourceFieldRef: {resource: limits.cpu}}]}}",
            &[("cpu", "limits.cpu of it", 0o644), ("labels", "app=\"web\"", 0o644)],
        ),
        (
            "{name: v, projected: {defaultMode: 288, sources: [{configMap: {name: c, items: [{key: a, path: both}]}},
             {secret: {name: s, items: [{key: user, path: both}, {key: pass, path: pass, mode: 256}]}}]}}",
            &[("both", "admin", 0o440), ("pass", "hunter2", 0o400)],
        ),
    ];
    for (volume, expected) in cases {
        let scene = Scene::new();
        scene.set_up(volume).unwrap();
        let root = scene.mounts("[{name: v, mountPath: /v}]").unwrap();
        let found: Vec<String> = expected.iter().map(|(path, ..)| path.split('/').next().unwrap().to_owned()).collect();
        assert_eq!(names(&root, "/v"), found, "{volume}");
        for (path, contents, mode) in expected {
            let path = format!("/v/{path}");
            assert_eq!(read(&root, &path).as_deref(), Ok(*contents), "{path} of {volume}");
            assert_eq!(root.stat_at(&path, true).unwrap().mode, *mode, "{path} of {volume}");
            assert_eq!(open(&root, &path, true).map(|_| ()), Err(Errno::ReadOnly), "{path} of {volume}");
        }
    }
}

#[test]
fn what_is_missing_is_said_in_the_kubelets_words() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("file");
    fs::write(&file, "").unwrap();
    let (file, scratch) = (file.display(), scratch.path().display());
    for (volume, message) in [
        ("configMap: {name: none}", "configmap \"none\" not found".to_owned()),
        ("secret: {secretName: none}", "secret \"none\" not found".to_owned()),
        ("persistentVolumeClaim: {claimName: none}", "persistentvolumeclaim \"none\" not found".to_owned()),
        (
            "configMap: {name: c, items: [{key: k, path: p}]}",
            "configmap references non-existent config key: k".to_owned(),
        ),
        ("secret: {secretName: s, items: [{key: k, path: p}]}", "references non-existent secret key: k".to_owned()),
        (
            "configMap: {name: c, items: [{key: a, path: ../p}]}",
            "invalid path \"../p\": must be relative and must not contain '..'".to_owned(),
        ),
        (
            "downwardAPI: {items: [{path: p, fieldRef: {fieldPath: spec.x}}]}",
            "unsupported fieldPath: spec.x".to_owned(),
        ),
        (
            "projected: {sources: [{clusterTrustBundle: {path: token}}]}",
            "projected clusterTrustBundle is not supported".to_owned(),
        ),
        ("nfs: {server: s, path: p}", "volume type nfs is not supported".to_owned()),
        ("emptyDir: {sizeLimit: big}", "invalid sizeLimit \"big\"".to_owned()),
        (
            &format!("hostPath: {{path: {file}, type: Directory}}"),
            format!("hostPath type check failed: {file} is not a directory"),
        ),
        (
            &format!("hostPath: {{path: {scratch}, type: File}}"),
            format!("hostPath type check failed: {scratch} is not a file"),
        ),
        (
            &format!("hostPath: {{path: {scratch}/none, type: Directory}}"),
            format!("hostPath type check failed: {scratch}/none is not a directory"),
        ),
        (
            &format!("hostPath: {{path: {file}, type: Socket}}"),
            format!("hostPath type check failed: {file} is not a socket file"),
        ),
        (
            &format!("hostPath: {{path: {file}, type: CharDevice}}"),
            format!("hostPath type check failed: {file} is not a character device"),
        ),
        (
            &format!("hostPath: {{path: {file}, type: BlockDevice}}"),
            format!("hostPath type check failed: {file} is not a block device"),
        ),
        (&format!("hostPath: {{path: {file}, type: Odd}}"), "Odd is an invalid volume type".to_owned()),
    ] {
        let expected = format!("MountVolume.SetUp failed for volume \"v\" : {message}");
        assert_eq!(Scene::new().set_up(&format!("{{name: v, {volume}}}")), Err(expected), "{volume}");
    }
}

#[test]
fn host_paths_are_made_where_their_type_says_so() {
    let scene = Scene::new();
    let base = scene.scratch.path().display().to_string();
    for (name, path, kind) in
        [("a", "new/deep", "DirectoryOrCreate"), ("b", "new/file", "FileOrCreate"), ("c", "unchecked", "''")]
    {
        scene.set_up(&format!("{{name: {name}, hostPath: {{path: {base}/{path}, type: {kind}}}}}")).unwrap();
    }
    let root = scene
        .mounts("[{name: a, mountPath: /a}, {name: b, mountPath: /b}, {name: c, mountPath: /c, readOnly: true}]")
        .unwrap();
    open(&root, "/a/f", true).unwrap().write_at(b"a", 0).unwrap();
    open(&root, "/b", true).unwrap().write_at(b"b", 0).unwrap();
    assert_eq!(open(&root, "/c/f", true).map(|_| ()), Err(Errno::ReadOnly));
    scene.volumes.tear_down().unwrap();
    let base = scene.scratch.path();
    assert_eq!(fs::read_to_string(base.join("new/deep/f")).unwrap(), "a");
    assert_eq!(fs::read_to_string(base.join("new/file")).unwrap(), "b");
    let error =
        Scene::new().set_up(&format!("{{name: v, hostPath: {{path: {}/no/f, type: FileOrCreate}}}}", base.display()));
    assert!(error.unwrap_err().contains("/no/f: "), "the parent of a file must exist");
}

#[test]
fn a_change_of_the_source_is_swapped_in_and_sub_paths_keep_the_old() {
    let scene = Scene::new();
    scene.set_up("{name: v, configMap: {name: c}}").unwrap();
    let root = scene
        .mounts("[{name: v, mountPath: /v}, {name: v, mountPath: /etc/a.conf, subPath: a, readOnly: true}]")
        .unwrap();
    let version = || root.read_link("/v/..data").unwrap();
    let first = version();
    assert!(scene.volumes.update(&scene.context()).is_empty());
    assert_eq!(version(), first, "the same contents are not written again");

    scene.put("c", "{data: {a: changed, new: N}}");
    assert!(scene.volumes.update(&scene.context()).is_empty());
    assert_ne!(version(), first);
    assert_eq!(names(&root, "/v"), ["a", "new"]);
    assert_eq!(read(&root, "/v/a").as_deref(), Ok("changed"));
    assert_eq!(read(&root, "/etc/a.conf").as_deref(), Ok("A"));
    assert_eq!(root.stat_at(&format!("/v/{first}"), false).map(|_| ()), Err(Errno::NotFound));

    scene.objects.config_maps.lock().unwrap().clear();
    let errors = scene.volumes.update(&scene.context());
    assert_eq!(errors.len(), 1);
    assert_eq!(read(&root, "/v/a").as_deref(), Ok("changed"), "what was there stays");
}

#[test]
fn an_optional_source_that_appears_later_fills_the_volume() {
    let scene = Scene::new();
    scene.set_up("{name: v, configMap: {name: later, optional: true}}").unwrap();
    let root = scene.mounts("[{name: v, mountPath: /v}]").unwrap();
    assert_eq!(names(&root, "/v"), [""; 0]);
    scene.put("later", "{data: {k: here}}");
    assert!(scene.volumes.update(&scene.context()).is_empty());
    assert_eq!(read(&root, "/v/k").as_deref(), Ok("here"));
}

#[test]
fn a_failed_volume_heals_when_its_source_appears() {
    let scene = Scene::new();
    let volumes: Vec<Volume> = yaml("[{name: e, emptyDir: {}}, {name: v, configMap: {name: later}}]");
    assert_eq!(scene.volumes.set_up_all(&volumes, &scene.context()).len(), 1);
    scene.put("later", "{data: {k: here}}");
    assert!(scene.volumes.set_up_all(&volumes, &scene.context()).is_empty());
    assert!(scene.mounts("[{name: e, mountPath: /e}, {name: v, mountPath: /v}]").is_ok());
}

#[test]
fn empty_dirs_are_shared_bounded_and_removed_with_the_pod() {
    let scene = Scene::new();
    scene.set_up("{name: d, emptyDir: {sizeLimit: 1Ki}}").unwrap();
    scene.set_up("{name: m, emptyDir: {medium: Memory, sizeLimit: 8Ki}}").unwrap();
    scene.set_up("{name: big, emptyDir: {medium: Memory}}").unwrap();
    let mounts = "[{name: d, mountPath: /d}, {name: m, mountPath: m}, {name: big, mountPath: /big}]";
    let (one, two) = (scene.mounts(mounts).unwrap(), scene.mounts(mounts).unwrap());
    for (path, limit) in [("/d/f", 1024), ("/m/f", 8192), ("/big/f", 1 << 20)] {
        let file = open(&one, path, true).unwrap();
        assert_eq!(file.write_at(&vec![b'x'; 2 << 20], 0), Ok(limit), "{path}");
        assert_eq!(file.append(b"x"), Err(Errno::NoSpace), "{path}");
        assert_eq!(open(&two, path, false).unwrap().stat().unwrap().size, limit as u64, "{path}");
    }
    assert_eq!(one.stat_at("/d", true).unwrap().mode, 0o777);
    assert_eq!(scene.volumes.over_limit(), None);
    let on_disk = scene.scratch.path().join("pod/volumes/kubernetes.io~empty-dir/d");
    fs::write(on_disk.join("past"), [0; 10]).unwrap();
    assert_eq!(
        scene.volumes.over_limit().as_deref(),
        Some("Usage of EmptyDir volume \"d\" exceeds the limit \"1Ki\". ")
    );
    scene.volumes.tear_down().unwrap();
    assert!(!on_disk.exists());
    PodVolumes::tear_down_leftovers(&scene.scratch.path().join("pod")).unwrap();
}

#[test]
fn a_claims_directory_outlives_the_pod() {
    let scene = Scene::new();
    scene.set_up("{name: v, persistentVolumeClaim: {claimName: data}}").unwrap();
    let root = scene.mounts("[{name: v, mountPath: /v, subPath: db/files}]").unwrap();
    open(&root, "/v/f", true).unwrap().write_at(b"kept", 0).unwrap();
    scene.volumes.tear_down().unwrap();
    let kept = scene.scratch.path().join("volumes/ns/data/db/files/f");
    assert_eq!(fs::read_to_string(kept).unwrap(), "kept");
    scene.set_up("{name: w, persistentVolumeClaim: {claimName: data, readOnly: true}}").unwrap();
    let root = scene.mounts("[{name: w, mountPath: /w}]").unwrap();
    assert_eq!(read(&root, "/w/db/files/f").as_deref(), Ok("kept"));
    assert_eq!(open(&root, "/w/new", true).map(|_| ()), Err(Errno::ReadOnly));
}

#[test]
fn sub_paths_stay_in_their_volume() {
    let scene = Scene::new();
    let host = scene.scratch.path().join("host");
    fs::create_dir_all(host.join("d")).unwrap();
    fs::write(scene.scratch.path().join("secret"), "secret").unwrap();
    fs::write(host.join("plain"), "").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(host.join("socket")).unwrap();
    for (target, name) in [("d", "inside"), ("..", "up"), ("/etc", "abs"), ("../secret", "file"), ("loop", "loop")] {
        std::os::unix::fs::symlink(target, host.join(name)).unwrap();
    }
    set_mode(&host, 0o777).unwrap();
    scene.set_up(&format!("{{name: v, hostPath: {{path: {}}}}}", host.display())).unwrap();
    let prepare = "failed to prepare subPath for volumeMount \"v\" of container \"main\": ";
    for (mount, expected) in [
        ("subPath: d", None),
        ("subPath: ./inside/new/", None),
        ("subPath: plain", None),
        ("subPathExpr: $(NAME)", None),
        ("subPathExpr: $(OTHER)", Some("missing value for X".to_owned())),
        ("subPath: ../x", Some("unable to provision SubPath `../x`: must not contain '..'".to_owned())),
        ("subPath: /etc", Some("error SubPath `/etc` must not be an absolute path".to_owned())),
        ("subPath: up", Some(format!("{prepare}path leads outside of the volume"))),
        ("subPath: up/x", Some(format!("{prepare}path leads outside of the volume"))),
        ("subPath: abs", Some(format!("{prepare}path leads outside of the volume"))),
        ("subPath: file", Some(format!("{prepare}path leads outside of the volume"))),
        ("subPath: loop", Some(format!("{prepare}too many levels of symbolic links"))),
        ("subPath: plain/x", Some(format!("{prepare}not a directory"))),
    ] {
        let mounts = format!("[{{name: v, mountPath: /v, {mount}}}]");
        assert_eq!(scene.mounts(&mounts).err(), expected, "{mount}");
        assert_eq!(scene.host_mounts(&mounts).err(), expected, "{mount} of a native container");
    }
    assert!(!host.join("etc").exists() && !host.join("x").exists());
    // Elsewhere there is no handle of what cannot be read.
    if cfg!(target_os = "linux") {
        assert!(scene.host_mounts("[{name: v, mountPath: /v, subPath: socket}]").is_ok());
    }
    assert!(host.join("d/new").is_dir());
    let mode = HostDirFs::open(&host.join("expanded")).map(|_| fs::metadata(host.join("expanded")).unwrap());
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.unwrap().permissions()) & 0o777, 0o777);
    let unknown = scene.mounts("[{name: none, mountPath: /v}]").err();
    assert_eq!(unknown.as_deref(), Some("volume \"none\" is not set up"));
}

#[test]
fn the_pods_group_may_read_and_volumes_nest() {
    let mut scene = Scene::new();
    scene.fs_group = Some(2000);
    scene.set_up("{name: s, secret: {secretName: s, defaultMode: 256}}").unwrap();
    scene.set_up("{name: e, emptyDir: {}}").unwrap();
    let root = scene.mounts("[{name: e, mountPath: /s/nested}, {name: s, mountPath: /s}]").unwrap();
    assert_eq!(root.stat_at("/s/user", true).unwrap().mode, 0o440);
    assert_eq!(root.stat_at("/s/nested", true).unwrap().mode, 0o2777);
    assert_eq!(names(&root, "/s"), ["nested", "pass", "user"]);
    assert_eq!(root.stat_at("/s/user", false).unwrap().kind, FileKind::Symlink);
    open(&root, "/s/nested/f", true).unwrap();
}

#[test]
fn trees_of_any_depth_are_torn_down() {
    let scene = Scene::new();
    scene.set_up("{name: e, emptyDir: {}}").unwrap();
    let root = scene.mounts("[{name: e, mountPath: /e}]").unwrap();
    // Each round makes a tree 200 deep and moves all that was there before to its end.
    let directory = |dir: &Dir, path: &str| {
        let options = OpenOptions { read: true, directory: true, ..Default::default() };
        let Ok(Opened::Dir(dir)) = dir.open(path, options) else { panic!("{path} is no directory") };
        dir
    };
    root.create_dir("/e/tree", 0o755).unwrap();
    for _ in 0..20 {
        let mut dir = directory(&root, "/e");
        for _ in 0..200 {
            dir.create_dir("d", 0o755).unwrap();
            dir = directory(&dir, "d");
        }
        open(&dir, "f", true).unwrap();
        root.rename("/e/tree", &dir, "tree").unwrap();
        root.rename("/e/d", &root, "/e/tree").unwrap();
    }
    root.symlink("/etc", "/e/link").unwrap();
    drop(root);
    scene.volumes.tear_down().unwrap();
    assert!(!scene.scratch.path().join("pod/volumes").exists());
}

/// §14: a token is kept while it is fresh, replaced when four fifths of its time are over, and stays if that fails.
#[test]
fn tokens_are_replaced_in_time_and_not_sooner() {
    let mut scene = Scene::new();
    let sources = "{serviceAccountToken: {path: token, expirationSeconds: 3607}}, {serviceAccountToken: {path: other, \
        audience: vault}}, {configMap: {name: c, items: [{key: a, path: a}]}}";
    let volume = format!("{{name: v, projected: {{sources: [{sources}]}}}}");
    *scene.objects.issues_none.lock().unwrap() = Some("serviceaccounts \"default\" not found".to_owned());
    assert_eq!(scene.volumes.update_at(), None);
    let error = scene.set_up(&volume).unwrap_err();
    let expected =
        "MountVolume.SetUp failed for volume \"v\" : failed to fetch token: serviceaccounts \"default\" not found";
    assert_eq!(error, expected);
    *scene.objects.issues_none.lock().unwrap() = None;
    scene.set_up(&volume).unwrap();
    let root = scene.mounts("[{name: v, mountPath: /v}]").unwrap();
    let tokens = || (read(&root, "/v/token").unwrap(), read(&root, "/v/other").unwrap());
    let both = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(tokens(), both("token 1", "token 2"));
    assert_eq!(*scene.objects.issued.lock().unwrap(), [None, Some("vault".to_owned())]);
    assert_eq!(root.stat_at("/v/token", true).unwrap().mode, 0o644);
    // Other sources change meanwhile.
    scene.put("c", "{data: {a: new}}");
    scene.now += jiff::SignedDuration::from_secs(2870);
    assert!(scene.volumes.update(&scene.context()).is_empty());
    assert_eq!((tokens(), read(&root, "/v/a").unwrap()), (both("token 1", "token 2"), "new".to_owned()));
    let at = scene.volumes.update_at().unwrap();
    assert!((2876..=2887).contains(&at.as_second()), "{at}");
    scene.now += jiff::SignedDuration::from_secs(20);
    assert!(scene.volumes.update(&scene.context()).is_empty());
    assert_eq!(tokens(), both("token 3", "token 2"));
    *scene.objects.issues_none.lock().unwrap() = Some("the server is busy".to_owned());
    scene.now = Timestamp::from_second(6200).unwrap();
    assert!(scene.volumes.update(&scene.context()).is_empty());
    assert_eq!(tokens(), both("token 3", "token 2"), "still good");
    assert_eq!(scene.volumes.update_at(), Some(scene.now + jiff::SignedDuration::from_secs(60)));
    scene.now = Timestamp::from_second(7000).unwrap();
    let errors = scene.volumes.update(&scene.context());
    assert_eq!(errors[0].reason.to_string(), "failed to fetch token: the server is busy");
}

#[test]
fn a_token_is_for_the_one_user_or_group_alone() {
    let (own_user, own_group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let others = own_user + 1;
    // Root, of the system or of a large enough namespace, may give files away.
    let may_give = own_user == 0 && is_given(tempfile::NamedTempFile::new().unwrap().path(), others);
    let by_right = |mode| if may_give { mode } else { 0o644 };
    for (fs_group, one_user, mode) in [
        (None, Some(own_user), 0o600),
        (None, Some(others), by_right(0o600)),
        (Some(own_group), None, 0o640),
        (Some(others), None, by_right(0o640)),
        (Some(own_group), Some(others), 0o640),
        (None, None, 0o644),
    ] {
        let mut scene = Scene::new();
        (scene.fs_group, scene.one_user) = (fs_group, one_user);
        let sources = "[{serviceAccountToken: {path: token}}, {configMap: {name: c}}]";
        scene.set_up(&format!("{{name: v, projected: {{sources: {sources}}}}}")).unwrap();
        let volume = scene.scratch.path().join("pod/volumes/kubernetes.io~projected/v");
        let version = || fs::read_link(volume.join("..data")).unwrap();
        let check = || {
            let found = fs::metadata(volume.join("token")).unwrap();
            let owner = one_user.filter(|user| may_give || *user == own_user).unwrap_or(own_user);
            assert_eq!((found.mode() & 0o7777, found.uid()), (mode, owner), "{fs_group:?} {one_user:?}");
            assert_eq!(fs::metadata(volume.join("a")).unwrap().uid(), own_user, "the token alone is private");
        };
        check();
        let first = version();
        assert!(scene.volumes.update(&scene.context()).is_empty());
        assert_eq!(version(), first, "nothing has changed");
        scene.now += jiff::SignedDuration::from_secs(3000);
        assert!(scene.volumes.update(&scene.context()).is_empty());
        assert_ne!(version(), first, "the token was replaced");
        check();
    }
}

/// Whether the host lets files be given to a user.
fn is_given(path: &Path, user: u32) -> bool {
    std::os::unix::fs::chown(path, Some(user), None).is_ok()
}

/// What pods before have left on a claim is the next one's group's, down to any depth; links are not followed.
#[test]
fn a_claims_files_get_the_pods_group() {
    let Some(group) = other_group("a_claims_files_get_the_pods_group") else { return };
    let mut scene = Scene::new();
    let (root, outside) = (scene.scratch.path().join("volumes/ns/data"), scene.scratch.path().join("outside"));
    fs::create_dir_all(root.join("sub")).unwrap();
    set_mode(&root, 0o755).unwrap();
    set_mode(&root.join("sub"), 0o700).unwrap();
    for (path, mode) in [("top", 0o600), ("sub/f", 0o4711)] {
        fs::write(root.join(path), "").unwrap();
        set_mode(&root.join(path), mode).unwrap();
    }
    fs::write(&outside, "").unwrap();
    set_mode(&outside, 0o600).unwrap();
    std::os::unix::fs::symlink(&outside, root.join("sub/link")).unwrap();
    std::os::unix::fs::symlink("..", root.join("sub/up")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let of = |path: &str| {
        let found = fs::symlink_metadata(root.join(path)).unwrap();
        (found.gid() == group, format!("{:o}", found.mode() & 0o7777))
    };
    let before = fs::metadata(&outside).unwrap();

    scene.set_up("{name: none, persistentVolumeClaim: {claimName: data}}").unwrap();
    scene.fs_group = Some(group);
    scene.set_up("{name: reads, persistentVolumeClaim: {claimName: data, readOnly: true}}").unwrap();
    assert_eq!((of(""), of("top")), ((false, "755".to_owned()), (false, "600".to_owned())), "nobody writes");

    scene.set_up("{name: writes, persistentVolumeClaim: {claimName: data}}").unwrap();
    let expected = [("", "2775"), ("sub", "2770"), ("top", "660"), ("sub/f", "4771")];
    for (path, mode) in expected {
        assert_eq!(of(path), (true, mode.to_owned()), "{path}");
    }
    assert!(of("sub/link").0 && of("sub/up").0 && of("socket").0);
    let after = fs::metadata(&outside).unwrap();
    assert_eq!((after.gid(), after.mode()), (before.gid(), before.mode()), "no link is followed");

    set_mode(&root.join("top"), 0o600).unwrap();
    scene.policy = GroupChangePolicy::OnRootMismatch;
    scene.set_up("{name: trusts, persistentVolumeClaim: {claimName: data}}").unwrap();
    assert_eq!(of("top").1, "600", "the root has the group already");
    set_mode(&root, 0o755).unwrap();
    scene.set_up("{name: looks, persistentVolumeClaim: {claimName: data}}").unwrap();
    assert_eq!((of("").1, of("top").1), ("2775".to_owned(), "660".to_owned()));
}

/// A group other than that of new files, to which this user may give files. Where there is none, `test` cannot run.
fn other_group(test: &str) -> Option<u32> {
    let file = tempfile::NamedTempFile::new().unwrap();
    let own = file.as_file().metadata().unwrap().gid();
    let groups = rustix::process::getgroups().unwrap().into_iter().map(|group| group.as_raw());
    let may_give = |group: u32| std::os::unix::fs::chown(file.path(), None, Some(group)).is_ok();
    let other = groups.chain([own + 1]).find(|group| *group != own && may_give(*group));
    if other.is_none() {
        let reason = format!("not run here: {test}: this user has one group only\n");
        let _ = io::Write::write_all(&mut io::stderr(), reason.as_bytes());
    }
    other
}

#[test]
fn a_group_that_the_host_lacks_keeps_no_volume_back() {
    let mut scene = Scene::new();
    // An ordinary user may not give it, and few user namespaces have it.
    scene.fs_group = Some(u32::MAX - 1);
    scene.set_up("{name: e, emptyDir: {}}").unwrap();
    scene.set_up("{name: p, persistentVolumeClaim: {claimName: data}}").unwrap();
    scene.set_up("{name: c, configMap: {name: c}}").unwrap();
    let root = scene.mounts("[{name: e, mountPath: /e}, {name: p, mountPath: /p}]").unwrap();
    open(&root, "/e/f", true).unwrap();
    open(&root, "/p/f", true).unwrap();
}

#[test]
fn claims_of_any_depth_get_the_group() {
    let Some(group) = other_group("claims_of_any_depth_get_the_group") else { return };
    let mut scene = Scene::new();
    scene.set_up("{name: v, persistentVolumeClaim: {claimName: data}}").unwrap();
    let claim = scene.scratch.path().join("volumes/ns/data");
    // Deeper than any path can be named, and than there are descriptors.
    let mut directory = rustix::fs::open(&claim, OFlags::DIRECTORY, RawMode::empty()).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&directory, "d", RawMode::RWXU).unwrap();
        directory = rustix::fs::openat(&directory, "d", OFlags::DIRECTORY, RawMode::empty()).unwrap();
    }
    scene.fs_group = Some(group);
    scene.set_up("{name: w, persistentVolumeClaim: {claimName: data}}").unwrap();
    let last = fs::File::from(directory).metadata().unwrap();
    assert_eq!((last.gid(), last.mode() & 0o7777), (group, 0o2770));
    remove(&claim).unwrap();
}

#[test]
fn places_of_mounts_are_taken_as_they_are_written() {
    let scene = Scene::new();
    scene.set_up("{name: v, configMap: {name: c}}").unwrap();
    for (path, expected) in [
        ("/tmp/../../x", Ok("/x")),
        ("/a//b/./c/", Ok("/a/b/c")),
        ("a/b", Ok("/a/b")),
        ("/", Err("/")),
        ("/a/..", Err("/a/..")),
    ] {
        let mounts = format!("[{{name: v, mountPath: {path}}}]");
        let refusal =
            |path| format!("volume \"v\" cannot be mounted at {path:?}: a container's root filesystem is its image's");
        let native = scene.host_mounts(&mounts).map(|mounts| mounts[0].path.clone());
        assert_eq!(native, expected.map(str::to_owned).map_err(refusal), "{path}");
        match (scene.mounts(&mounts), expected) {
            (Ok(root), Ok(at)) => assert_eq!(read(&root, &format!("{at}/a")).as_deref(), Ok("A"), "{path}"),
            (mounted, expected) => {
                assert_eq!(mounted.map(|_| ""), expected.map(|_| "").map_err(refusal), "{path}");
            }
        }
    }
}

/// What a native container has by `subPath` is like the volume's root, and so its user can write there.
#[test]
fn directories_made_for_sub_paths_are_like_the_volumes_root() {
    let mut scene = Scene::new();
    scene.fs_group = Some(rustix::process::getegid().as_raw());
    scene.set_up("{name: e, emptyDir: {}}").unwrap();
    let mounts = scene.host_mounts("[{name: e, mountPath: /d, subPath: one/two}]").unwrap();
    assert_eq!(mounts[0].sub_path.as_deref(), Some(Path::new("one/two")));
    for path in ["one", "one/two"] {
        let made = fs::metadata(mounts[0].source.join(path)).unwrap();
        assert_eq!(format!("{:o}", made.mode() & 0o7777), "2777", "{path}");
    }
}

#[test]
fn a_directory_made_for_a_sub_path_does_not_hinder_updates() {
    let scene = Scene::new();
    scene.set_up("{name: v, configMap: {name: c}}").unwrap();
    let root = scene.mounts("[{name: v, mountPath: /v}, {name: v, mountPath: /none, subPath: none}]").unwrap();
    scene.put("c", "{data: {a: changed}}");
    assert!(scene.volumes.update(&scene.context()).is_empty());
    assert_eq!(read(&root, "/v/a").as_deref(), Ok("changed"));
}

/// Whoever removes may be killed at any moment, and the next one goes on from there.
#[test]
fn a_removal_that_was_interrupted_is_finished_by_the_next() {
    let scratch = tempfile::tempdir().unwrap();
    let volumes = scratch.path().join("volumes");
    for left in ["removing-0/..2026/token", "removing-1/a/b", "kubernetes.io~projected/v/..data/ca.crt"] {
        fs::create_dir_all(volumes.join(left)).unwrap();
    }
    PodVolumes::tear_down_leftovers(scratch.path()).unwrap();
    assert!(!volumes.exists());
}

/// The host may put another directory in the place of one that a pod has as its volume.
#[test]
fn a_native_containers_sub_path_is_made_where_it_will_be_mounted() {
    let scene = Scene::new();
    let host = scene.scratch.path().join("host");
    fs::create_dir(&host).unwrap();
    scene.set_up(&format!("{{name: v, hostPath: {{path: {}}}}}", host.display())).unwrap();
    fs::rename(&host, scene.scratch.path().join("before")).unwrap();
    fs::create_dir(&host).unwrap();
    scene.host_mounts("[{name: v, mountPath: /v, subPath: new}]").unwrap();
    assert!(host.join("new").is_dir());
}
