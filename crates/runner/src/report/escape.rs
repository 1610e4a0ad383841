//! Text of users in Markdown and LaTeX, where some characters mean something else.

use crate::error::one_line;

/// Signs that pair up in Markdown: one of them alone is a plain character.
const PAIRED: [char; 3] = ['*', '_', '~'];

/// Whether a sign of Markdown could begin or end something: between two letters or digits it
/// cannot.
fn could_pair(text: &[char], at: usize) -> bool {
    let is_word = |c: Option<&char>| c.is_some_and(|c| c.is_alphanumeric());
    let before = at.checked_sub(1).and_then(|i| text.get(i));
    !(is_word(before) && is_word(text.get(at + 1)))
}

/// Text as it is meant in a cell or heading of Markdown: on one line, with signs that would begin
/// something else behind a backslash.
pub fn markdown(text: &str) -> String {
    let text: Vec<char> = one_line(text).chars().collect();
    let count = |sign: char| text.iter().filter(|c| **c == sign).count();
    let mut escaped = String::new();
    for (at, c) in text.iter().enumerate() {
        let is_special = match c {
            '|' | '`' | '<' | '[' | '\\' => true,
            sign if PAIRED.contains(sign) => count(*sign) > 1 && could_pair(&text, at),
            _ => false,
        };
        if is_special {
            escaped.push('\\');
        }
        escaped.push(*c);
    }
    escaped
}

/// Characters that pdfLaTeX does not set as they are, and what it sets in their place.
const LATEX: [(char, &str); 44] = [
    ('\\', r"\textbackslash{}"),
    ('^', r"\textasciicircum{}"),
    ('~', r"\textasciitilde{}"),
    ('<', r"\textless{}"),
    ('>', r"\textgreater{}"),
    ('|', r"\textbar{}"),
    ('"', r"\textquotedbl{}"),
    ('†', r"$^\dagger$"),
    ('‡', r"$^\ddagger$"),
    ('±', r"$\pm$"),
    ('×', r"$\times$"),
    ('·', r"$\cdot$"),
    ('→', r"$\rightarrow$"),
    ('←', r"$\leftarrow$"),
    ('↑', r"$\uparrow$"),
    ('↓', r"$\downarrow$"),
    ('≤', r"$\leq$"),
    ('≥', r"$\geq$"),
    ('≈', r"$\approx$"),
    ('∞', r"$\infty$"),
    ('²', r"$^2$"),
    ('³', r"$^3$"),
    ('α', r"$\alpha$"),
    ('β', r"$\beta$"),
    ('γ', r"$\gamma$"),
    ('δ', r"$\delta$"),
    ('ε', r"$\epsilon$"),
    ('η', r"$\eta$"),
    ('θ', r"$\theta$"),
    ('κ', r"$\kappa$"),
    ('λ', r"$\lambda$"),
    ('μ', r"$\mu$"),
    ('ν', r"$\nu$"),
    ('π', r"$\pi$"),
    ('ρ', r"$\rho$"),
    ('σ', r"$\sigma$"),
    ('τ', r"$\tau$"),
    ('φ', r"$\phi$"),
    ('χ', r"$\chi$"),
    ('ψ', r"$\psi$"),
    ('ω', r"$\omega$"),
    ('Δ', r"$\Delta$"),
    ('Σ', r"$\Sigma$"),
    ('Ω', r"$\Omega$"),
];

/// Text as it is meant in LaTeX, on one line.
pub fn latex(text: &str) -> String {
    let mut escaped = String::new();
    for c in one_line(text).chars() {
        let set = LATEX.iter().find(|(special, _)| *special == c);
        match (c, set) {
            (_, Some((_, set))) => escaped.push_str(set),
            ('&' | '%' | '#' | '_' | '$' | '{' | '}', None) => escaped.extend(['\\', c]),
            (other, None) => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_a_markdown_table() {
        assert_eq!(markdown("a|b"), r"a\|b");
        assert_eq!(markdown("two\nlines"), "two lines");
        assert_eq!(markdown("<b> `x` [y](z)"), r"\<b> \`x\` \[y](z)");
        assert_eq!(markdown("*bold* and _it_"), r"\*bold\* and \_it\_");
        // Signs that mean nothing stay.
        for plain in ["CUT_50%", "EGSDE*", "x^2 ~ y", "a_b_c", "EGSDE start=0.5"] {
            assert_eq!(markdown(plain), plain);
        }
    }

    #[test]
    fn nothing_breaks_latex() {
        assert_eq!(
            latex("x^2 ~ y\\z_{a}"),
            r"x\textasciicircum{}2 \textasciitilde{} y\textbackslash{}z\_\{a\}"
        );
        assert_eq!(
            latex("CUT_50% & λ→1\nEGSDE†"),
            r"CUT\_50\% \& $\lambda$$\rightarrow$1 EGSDE$^\dagger$"
        );
    }
}
