//! `sqlx::migrate!` embeds a folder; the compiler does not notice a new file in it.

fn main() {
    println!("cargo:rerun-if-changed=../../../migrations");
}
