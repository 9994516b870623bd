//! `sqlx::migrate!` embeds a folder, of which the compiler would not notice a new file.

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to Cargo")]
fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
