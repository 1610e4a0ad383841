//! Numbers of finished jobs: the table, differences between rows, stored baselines.

pub mod baseline;
pub mod differences;
pub mod fid_bootstrap;
pub mod published;
pub mod table;
pub mod table_row;
