//! `sqlx::migrate!` embeds a folder, of which the compiler would not notice a new file.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
