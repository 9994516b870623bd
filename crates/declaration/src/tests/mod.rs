//! Whole declarations: the shipped one, a corpus of wrong ones, and where they are found. What people
//! publish is in `engine::spec::corpus`.

mod embedded;
mod examples;
mod files;
mod forms;
mod names;
mod origins;
mod places;
mod profiles;
mod promises;
mod wrong;
