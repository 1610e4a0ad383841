//! Numbers of finished jobs: the table, differences between rows, costs, the paper's claims, stored
//! baselines.

pub mod baseline;
pub mod claims;
pub mod cost;
pub mod differences;
pub mod fid_bootstrap;
pub mod paired;
pub mod published;
pub mod table;
pub mod table_row;
