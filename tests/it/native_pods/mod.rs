//! Pods with native containers, alone and beside containers of WebAssembly, run by the real husk as root and as an ordinary
//! user. What a single native container may and may not do is tested in `native`.

mod foreign;
mod guests;
mod images;
mod lifecycle;
mod localhost;
mod machine;
mod manifests;
mod network;
mod scene;
mod server;
mod verbs;
mod volumes;

/// Makes two tests of each scenario, a function of the test's name and the user.
macro_rules! both_users {
    ($($scenario:ident)*) => {
        mod as_root {
            $(#[test]
            fn $scenario() {
                super::$scenario(concat!(module_path!(), "::", stringify!($scenario)), super::User::Root);
            })*
        }

        mod as_ordinary_user {
            $(#[test]
            fn $scenario() {
                super::$scenario(concat!(module_path!(), "::", stringify!($scenario)), super::User::Ordinary);
            })*
        }
    };
}

use both_users;
