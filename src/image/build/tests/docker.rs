//! What Dockerfiles mean to Docker, down to the details that files in the field rely on.

use super::*;

fn config(file: &str) -> (Value, Vec<String>) {
    let scene = Scene::new(&[("Dockerfile", file.as_bytes()), ("sp ace/f", b"")]);
    let args = vec![("UID".to_owned(), "7".to_owned())];
    let request = BuildRequest { args, ..scene.request("app") };
    let built = scene.store.build(&request).unwrap_or_else(|error| panic!("{file}: {error}"));
    (scene.document("app"), built.warnings)
}

#[test]
fn what_dockerfiles_say_is_what_docker_makes_of_it() {
    let architecture = crate::image::platform::host_architecture();
    let cases = [
        ("CMD [\"--serve\"]\nENTRYPOINT [\"/a\"]", "/config/Cmd", serde_json::json!(["--serve"])),
        ("ENV abc=hello\nENV abc=bye def=$abc\nWORKDIR /$def", "/config/WorkingDir", "/hello".into()),
        ("ARG A=1 B=2\nARG A=3 C=$A\nWORKDIR /$A$B$C", "/config/WorkingDir", "/321".into()),
        ("ARG X='$HOME'\nUSER $X", "/config/User", "$HOME".into()),
        ("LABEL a=1\\\n      b=2", "/config/Labels", serde_json::json!({ "a": "1", "b": "2" })),
        ("LABEL a=\"one \\\n   two\"", "/config/Labels/a", "one    two".into()),
        ("ARG TARGETARCH\nUSER $TARGETARCH", "/config/User", architecture.into()),
        ("USER x$TARGETARCH", "/config/User", "x".into()),
        (
            "ARG TARGETPLATFORM BUILDOS\nUSER $TARGETPLATFORM,$BUILDOS",
            "/config/User",
            format!("linux/{architecture},linux").into(),
        ),
        ("MAINTAINER A <a@x>", "/author", "A <a@x>".into()),
        ("HEALTHCHECK NONE", "/config/Healthcheck", Value::Null),
    ];
    for (file, pointer, expected) in cases {
        let (document, warnings) = config(&format!("FROM scratch\nARG UID\n{file}"));
        assert_eq!(document.pointer(pointer).unwrap_or(&Value::Null), &expected, "{file}");
        assert_eq!(warnings, [""; 0], "{file}");
    }
    let (_, warnings) = config("FROM scratch\nARG UID\nHEALTHCHECK --interval=5s CMD /bin/check");
    assert!(warnings[0].starts_with("line 3: HEALTHCHECK is left out"), "{warnings:?}");
    let (_, warnings) = config("FROM scratch");
    assert_eq!(warnings, ["no ARG takes the values of --build-arg for UID"]);
}

#[test]
fn only_the_command_of_the_base_is_forgotten() {
    let scene = Scene::new(&[("Dockerfile", b"FROM scratch\nENTRYPOINT [\"/a\"]\nCMD [\"x\"]\n")]);
    scene.store.build(&scene.request("base")).unwrap();
    for (file, expected) in [
        ("FROM base\nENTRYPOINT [\"/b\"]", Value::Null),
        ("FROM base\nCMD [\"y\"]\nENTRYPOINT [\"/b\"]", serde_json::json!(["y"])),
        ("FROM base\nUSER 1", serde_json::json!(["x"])),
    ] {
        fs::write(scene.context().join("Dockerfile"), file).unwrap();
        scene.store.build(&scene.request("app")).unwrap();
        assert_eq!(scene.document("app")["config"]["Cmd"], expected, "{file}");
    }
}

#[test]
fn files_are_copied_as_the_line_says() {
    let file = "\u{feff}FROM scratch\nARG UID=7 MODE=600\n\
                COPY --link --chown=${UID} --chmod=$MODE sp\\ ace/f /z\nCOPY \"sp ace/f\" /y\n";
    let scene = Scene::new(&[("Dockerfile", file.as_bytes()), ("sp ace/f", b"\0asm\x01\0\0\0")]);
    let image = scene.build("app").unwrap();
    let found: Vec<_> = entries(&image).into_iter().map(|(path, mode, uid, _)| (path, mode, uid)).collect();
    assert_eq!(found[0], ("z".to_owned(), 0o600, 7));
    assert_eq!(found[1].0, "y");
}

#[test]
fn the_command_has_labels_and_dockerfiles_of_its_own() {
    let scene = Scene::new(&[("Dockerfile", b"FROM scratch\nLABEL a=1 b=2\n"), ("sub/Other", b"FROM scratch\n")]);
    let labels = vec![("b".to_owned(), "3".to_owned()), ("c".to_owned(), "x=y".to_owned())];
    scene.store.build(&BuildRequest { labels, ..scene.request("app") }).unwrap();
    assert_eq!(scene.document("app")["config"]["Labels"], serde_json::json!({ "a": "1", "b": "3", "c": "x=y" }));
    let dockerfile = Some("FROM scratch\nUSER given\n".to_owned());
    scene.store.build(&BuildRequest { dockerfile, ..scene.request("app") }).unwrap();
    assert_eq!(scene.document("app")["config"]["User"], "given");
    let file = Some("sub/Other".into());
    let error = scene.store.build(&BuildRequest { file, ..scene.request("app") }).unwrap_err().to_string();
    assert!(error.contains("did you mean -f ") && error.contains("context/sub/Other"), "{error}");
}
