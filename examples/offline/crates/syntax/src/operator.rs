use tally_lexer::TokenKind;

macro_rules! operators {
    ($($name:ident $symbol:literal $precedence:literal $title:literal,)*) => {
        /// An operator between two operands.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Binary {
            $(#[doc = $title] $name,)*
        }

        impl Binary {
            /// How it is written.
            pub const fn symbol(self) -> &'static str {
                match self { $(Self::$name => $symbol,)* }
            }

            /// The higher, the tighter it binds.
            pub const fn precedence(self) -> u8 {
                match self { $(Self::$name => $precedence,)* }
            }
        }
    };
}

operators! {
    Equal "=" 1 "The same value.",
    NotEqual "<>" 1 "Another value.",
    Less "<" 1 "Below.",
    LessOrEqual "<=" 1 "Not above.",
    Greater ">" 1 "Above.",
    GreaterOrEqual ">=" 1 "Not below.",
    Join "&" 2 "Text after text.",
    Add "+" 3 "The sum.",
    Subtract "-" 3 "The difference.",
    Multiply "*" 4 "The product.",
    Divide "/" 4 "The quotient.",
    Power "^" 6 "The power; associates to the right.",
}

impl Binary {
    pub(crate) const fn from_token(token: TokenKind) -> Option<Self> {
        Some(match token {
            TokenKind::Equal => Self::Equal,
            TokenKind::NotEqual => Self::NotEqual,
            TokenKind::Less => Self::Less,
            TokenKind::LessOrEqual => Self::LessOrEqual,
            TokenKind::Greater => Self::Greater,
            TokenKind::GreaterOrEqual => Self::GreaterOrEqual,
            TokenKind::Ampersand => Self::Join,
            TokenKind::Plus => Self::Add,
            TokenKind::Minus => Self::Subtract,
            TokenKind::Star => Self::Multiply,
            TokenKind::Slash => Self::Divide,
            TokenKind::Caret => Self::Power,
            _ => return None,
        })
    }

    /// Whether `a ∘ b ∘ c` is `a ∘ (b ∘ c)`.
    pub const fn associates_right(self) -> bool {
        matches!(self, Self::Power)
    }
}

/// An operator with one operand.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Unary {
    /// `-x`
    Negate,
    /// `+x`
    Plus,
    /// `x%`
    Percent,
}

impl Unary {
    /// The precedence of a sign: `-2^2` is `-(2^2)`, and `-2*3` is `(-2)*3`.
    pub(crate) const SIGN: u8 = 5;
    pub(crate) const PERCENT: u8 = 7;

    /// The higher, the tighter it binds.
    pub const fn precedence(self) -> u8 {
        match self {
            Self::Negate | Self::Plus => Self::SIGN,
            Self::Percent => Self::PERCENT,
        }
    }
}
