//! The binary `egsde`.

/// Plans and tables of many jobs are made of small pieces on all cores, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    egsde_runner::cli::main()
}
