"""Languages as containers name them, and as people do (BCP 47)."""

import langcodes

from media import layout


def language(tag: str | None) -> str:
    """Return the BCP 47 tag of a language as containers name it, ``und`` for what is none.

    >>> language("eng"), language("pt-br"), language(None), language("not a language")
    ('en', 'pt-BR', 'und', 'und')
    """
    try:
        found = langcodes.standardize_tag(tag or "und")
    except langcodes.tag_parser.LanguageTagError:
        return "und"
    return found if layout.is_caption(layout.caption_key("v", found)) else "und"


def known(tag: str) -> str | None:
    """Return the BCP 47 tag in its usual form, None for one that the registry does not know.

    >>> known("PT-br"), known("zz"), known("../x")
    ('pt-BR', None, None)
    """
    found = language(tag)
    return found if found != "und" and langcodes.tag_is_valid(found) else None


def name(tag: str) -> str:
    """Return the name of a language in itself.

    >>> name("de"), name("und")
    ('Deutsch', 'und')
    """
    if tag == "und":
        return tag
    shown = langcodes.Language.get(tag).autonym()
    return (shown[:1].upper() + shown[1:]).replace('"', "")
