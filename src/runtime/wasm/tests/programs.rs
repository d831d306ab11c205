//! Finding programs, and refusing what is none.

use super::*;

/// Path, content and permission bits.
type NewFile<'a> = (&'a str, &'a [u8], u32);

/// What creating a container for `command` with these files answers.
async fn refusal(command: &str, files: &[NewFile<'_>]) -> String {
    let files: Vec<_> =
        files.iter().map(|(path, bytes, mode)| ((*path).to_owned(), Bytes::copy_from_slice(bytes), *mode)).collect();
    match Pod::new().create(Setup::with_files(command, &files)).await {
        Ok(_) => panic!("{command} should be refused"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn programs_that_are_not_there_or_not_executable() {
    let cases: [(&str, &[NewFile<'_>], &str); 7] = [
        ("", &[], r#"exec: "": no command specified"#),
        ("sh", &[], r#"exec: "sh": executable file not found in $PATH"#),
        ("/x", &[], r#"exec: "/x": stat /x: no such file or directory"#),
        ("./x", &[], r#"exec: "./x": stat ./x: no such file or directory"#),
        ("/bin/x", &[("/bin/x", b"#!/bin/sh", 0o644)], r#"exec: "/bin/x": permission denied"#),
        ("x", &[("/bin/x", b"#!/bin/sh", 0o644)], r#"exec: "x": executable file not found in $PATH"#),
        ("/bin", &[("/bin/x", b"", 0o755)], r#"exec: "/bin": is a directory"#),
    ];
    for (command, files, expected) in cases {
        assert_eq!(refusal(command, files).await, expected);
    }
}

#[tokio::test]
async fn files_that_are_no_programs() {
    let cases: [(&[u8], &str); 7] = [
        (b"\x7fELF\x02\x01\x01", "a native Linux program"),
        (b"#!\necho hi\n", "a script that names no interpreter"),
        (b"", "an empty file"),
        (b"MZ\x90", "a Windows program"),
        (b"hello\n", "a text file"),
        (b"(module)", "WebAssembly in text form"),
        (b"\0asm\x07\0\0\0", "WebAssembly of an unknown version"),
    ];
    for (bytes, expected) in cases {
        let refusal = refusal("x", &[("/bin/x", bytes, 0o755)]).await;
        assert!(refusal.starts_with(&format!(r#"exec: "x": exec format error: {expected}"#)), "{refusal}");
    }
}

#[tokio::test]
async fn webassembly_that_is_no_command() {
    let cases = [
        ("(module)", "a library, not a command: the module exports no `_start`"),
        (r#"(module (func (export "_initialize")))"#, "a WASI library (reactor), not a command"),
        (r#"(module (import "env" "quux" (func)) (func (export "_start")))"#, "`env::quux` has not been defined"),
        (r#"(module (import "wasi" "thread-spawn" (func)) (func (export "_start")))"#, "uses wasi-threads"),
        (r#"(module (memory 1 2 shared) (func (export "_start")))"#, "uses wasi-threads"),
        ("(component)", "neither a command nor an HTTP handler"),
        (
            r#"(component (import "acme:toys/robot@1.0.0" (instance (export "run" (func)))) (core module $m (func (export "f")))
                (core instance $i (instantiate $m)) (func $f (canon lift (core func $i "f")))
                (instance $run (export "run" (func $f))) (export "wasi:cli/run@0.2.0" (instance $run)))"#,
            "acme:toys/robot@1.0.0",
        ),
    ];
    for (text, expected) in cases {
        let refusal = refusal("x", &[("/bin/x", &wat(text), 0o755)]).await;
        assert!(refusal.contains(expected), "{refusal}");
    }
    let damaged = &guest("p1/hello")[..1000];
    let refusal = refusal("x", &[("/bin/x", damaged, 0o755)]).await;
    assert!(refusal.starts_with(r#"exec: "x": failed to parse"#), "{refusal}");
}

#[test]
#[cfg(feature = "wasi-p3")]
fn an_asynchronous_component_is_refused_by_name_where_there_is_no_support() {
    let mut config = wasmtime::Config::new();
    let engine = wasmtime::Engine::new(config.wasm_component_model_async(false)).unwrap();
    for name in ["p3/hello", "p3/http"] {
        let error = wasmtime::component::Component::new(&engine, guest(name)).map(drop).unwrap_err();
        let refusal = crate::runtime::wasm::program::refused("app", &error).to_string();
        assert!(refusal.starts_with(r#"exec: "app": uses asynchronous components (WASI 0.3)"#), "{refusal}");
    }
}

#[tokio::test]
async fn the_path_variable_says_where_to_look() {
    let files = [("/opt/tools/app".to_owned(), guest("p1/exit"), 0o755)];
    for (path, found) in [("/usr/bin:/opt/tools", true), ("/usr/bin", false), ("opt/tools", true)] {
        let mut setup = Setup::with_files("app 5", &files);
        setup.env = vec![("PATH".to_owned(), path.to_owned())];
        match Pod::new().create(setup).await {
            Ok(app) => {
                app.container.start().await.unwrap();
                assert_eq!((app.ends().await.code, found), (5, true));
            }
            Err(error) => assert!(!found, "{path}: {error}"),
        }
    }
}

/// A layer with one program, `/bin/app`, that is as large as tools together are.
fn layer_with_large(program: &[u8]) -> (std::sync::Arc<crate::vfs::Layer>, String) {
    let mut wasm = program.to_vec();
    // A custom section, which does nothing, of 3 MiB.
    let size = 3 << 20;
    wasm.push(0);
    let mut rest = size;
    while rest >= 0x80 {
        wasm.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    wasm.push(rest as u8);
    wasm.resize(wasm.len() + size, 0);
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    header.set_size(wasm.len() as u64);
    archive.append_data(&mut header, "bin/app", wasm.as_slice()).unwrap();
    let id = format!("sha256:{}", crate::base::id::PodUid::random());
    (crate::vfs::Layer::from_tar_bytes(&id, archive.into_inner().unwrap().into()).unwrap(), id)
}

/// The pause before optimising passes at once: this clock goes on by itself when nothing else does.
#[tokio::test(start_paused = true)]
async fn large_tools_run_before_they_are_optimised() {
    let (layer, id) = layer_with_large(&guest("p1/exit"));
    let runtime = WasmRuntime::new(WasmRuntimeConfig { tools: vec![id], ..WasmRuntimeConfig::default() }).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let stack = crate::vfs::LayerStack::new(vec![layer]).unwrap();
    let mut setup = Setup::with_files("app 7", &[]);
    let root = TreeFs::over(stack, scratch.path().join("root"), None);
    setup.mounts = MountTable::builder(root).build().unwrap();
    let running = Pod::new().create_on(&runtime, setup).await.unwrap();
    let optimised = runtime.core.pools[0].host(&runtime.core.config).unwrap().clone();
    let found =
        crate::runtime::wasm::program::find(&running.container.root(), "/bin/app", Vec::new(), &[], "/").unwrap();
    let is_ready = || optimised.cache.is_ready(optimised.engine.engine(), &found.source);
    assert!(!is_ready());
    running.container.start().await.unwrap();
    assert_eq!(running.ends().await.code, 7);
    while !is_ready() {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
