//! Plots as PNG and SVG, readable for the colour-blind, with the font that ships.

mod canvas;
mod cost;
mod curve;
mod curve_plot;
mod figure;
mod fonts;
mod grid;
mod log_axis;
mod scatter;
mod tradeoff;

pub use cost::write_cost;
pub use curve_plot::write_curves;
pub use figure::Figure;
pub use fonts::choose_fallback;
pub use grid::{GridBlock, write_blocks, write_grid, write_grid_as};
pub use tradeoff::write_tradeoff;
