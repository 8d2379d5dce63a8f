# ruff: noqa: RUF001  # people type these characters
"""Chinese requests: the sentences that the words of `chinese_words` stand in."""

import numpy as np

from .chinese_words import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, UNSUPPORTED
from .speech import END, Language, Said, chosen, listed

NOTHING = (
    "做一个视频|生成视频|来个视频|随便|随便什么都行|给我看点什么|做个视频吧|视频|短视频|你来决定|生成一段视频|"
    "帮我做个视频",
    "给我个惊喜|什么都可以|自由发挥",
)
VERBS = (
    "移动, 移动, 移动, 走, 飞, 滑动, 滑, 滚动, 运动, 飘, 跑, 移, 飞行, 游, 滚, 走过去, 移过去, 飘动, 奔跑",
    "漂移, 行进, 前进, 挪动, 冲",
)
FILLERS = ("小小的, 大大的, 漂亮的, 可爱的, 简单的, 小, 大", "巨大的, 精致的, 好看的")
OPENERS = (
    "请生成|帮我做个视频：|生成视频：|视频：|我想要|我想看|来一个|画|请帮我制作|做一个视频，|给我看|制作动画：|"
    "生成一段视频，|请展示|帮我生成|你好，|我需要|我们想要|现在|然后|来段视频：|给我来一个|麻烦做一个|拍|展示|"
    "动画：|提示词：|试试|可以做|能帮我做|一段动画，",
    "我脑海里有|拍一段|想象一下，|能不能渲染|短片内容：",
)
CLOSERS = (
    "，谢谢|。|。|，高清|！|，慢慢地|，快一点|，请|，短视频|，4k|，慢动作|，不要太快|，五秒|，没有声音|，画质最好|"
    "，谢谢你|，非常精细|。。。|，再来一次|，可以吗",
    "，循环播放|，电影感|，就这样|，拜托了",
)
FORMS = (
    (
        "{subject}|{moves}|，{look}背景",
        "{subject}|{moves}|，{look}背景",
        "{subject}|{moves}|，背景是{look}",
        "{subject}|{moves}|，背景是{look}的",
        "{subject}|在{look}背景上|{moves}",
        "在{look}背景上|，{subject}|{moves}",
        "{look}背景|，{subject}|{moves}",
        "{look}背景上|，{subject}|慢慢{moves}",
        "背景是{look}|，{subject}|{moves}",
        "{bare}| {moves}| {look}",
        "{bare}|，{moves}|，{look}",
        "{subject}|在{look}前面|{moves}",
        "{look}背景前|{subject}|{moves}",
        "一个{moves}的|{bare}|，{look}背景",
        "让{subject}|{moves}|，用{look}背景",
        "{noun}是{colour}的|，{moves}|，背景{look}",
        "有{subject}|，它{moves}|，背景：{look}",
        "{subject}|{moves}| 背景{look}",
        "{subject}|，{look}背景|，{moves}",
        "前面是{subject}|，{moves}|，后面是{look}",
        "主体：{bare}|，运动：{moves}|，背景：{look}",
        "背景：{look}|；物体：{bare}|；动作：{moves}",
        "形状：{noun}，颜色：{colour}|，方向：{moves}|，背景：{look}",
        "【{bare}】|【{moves}】|【{look}】",
        "{bare}| + {moves}| + {look}",
        "{bare}；|{moves}；|{look}",
        "{look}。|{bare}。|{moves}",
        "我们看到{subject}|{moves}|，背景为{look}",
        "画面里有{subject}|，正在{moves}|，背后是{look}",
        "{subject}|要{moves}|，背景要{look}",
        "{subject}|会{moves}|，{look}的背景",
        "当{subject}|{moves}|的时候，背景是{look}",
        "一个场景：{subject}|{moves}|，{look}",
        "{moves}|的{bare}|，{look}",
        "用{look}做背景|，{subject}|{moves}",
        "{subject}|从这里{moves}|，背景都是{look}",
    ),
    (
        "场景：{look}|；主角：{bare}|；动作：{moves}",
        "看{subject}|如何{moves}|，后面是{look}",
        "{look}铺满画面|，{subject}|正在{moves}",
        "{bare}（{moves}）|（{look}）",
        "只见{subject}|{moves}|，身后一片{look}",
        "{moves}|的是{subject}|，衬着{look}",
        "以{look}为底|，{subject}|{moves}",
        "{bare}| - {look}| - {moves}",
    ),
)


def phrases(spoken: Said, rng: np.random.Generator, forms: int) -> dict[str, str]:
    """Put what is said into every phrase that a form may ask for; what is not said is empty."""
    bare = _bare(spoken, rng, forms)
    measure = str(rng.choice(["一个", "一个", "一个", "一只", "这个", ""]))
    return {
        "subject": measure + bare if bare and not bare.startswith("有") else bare,
        "bare": bare,
        "noun": listed(spoken.shapes, spoken.joiner),
        "colour": listed(spoken.colours, spoken.joiner),
        "moves": _moving(spoken, chosen(rng, VERBS[forms])),
        "look": listed(spoken.backgrounds, spoken.joiner),
    }


def _bare(spoken: Said, rng: np.random.Generator, forms: int) -> str:
    of = str(rng.choice(["的", "的", ""]))
    colours = [f"{colour}{of if len(colour.strip(END)) > 1 else ''}" for colour in spoken.colours]
    shapes = list(spoken.shapes) or ([str(rng.choice(["东西", "物体"]))] if colours or not spoken.triggers else [])
    if not (spoken.shapes or colours or spoken.triggers or spoken.motions):
        return ""
    if len(colours) > 1 and len(shapes) > 1:
        return f"{colours[0]}{shapes[0]}{spoken.joiner}{colours[1]}{shapes[1]}"
    colour = listed(spoken.colours, spoken.joiner) + of if colours else ""
    if len(spoken.colours) > 1 and rng.random() < 0.3:
        colour = "".join(spoken.colours) + str(rng.choice(["相间的", "双色的", "色的"]))
    filler = chosen(rng, FILLERS[forms]) if rng.random() < 0.12 else ""
    return filler + listed(spoken.triggers, " ") + colour + listed(shapes, spoken.joiner)


def _moving(spoken: Said, verb: str) -> str:
    ways = []
    for motion in spoken.motions:
        if motion.endswith(END):
            ways.append(motion.replace("=", ""))
        else:
            ways.append(motion[1:] if motion.startswith("=") else motion + verb)
    return listed(ways, spoken.joiner)


CHINESE = Language(
    name="zh",
    words={"colour": COLOURS, "shape": SHAPES, "motion": MOTIONS, "background": BACKGROUNDS},
    unsupported=UNSUPPORTED,
    joiners=("和", "或", "、", "或者", "和", "，", "与", "/", ""),
    forms=FORMS,
    openers=OPENERS,
    closers=CLOSERS,
    loose=(
        ("{subject}", "{bare}", "{subject}", "主角是{subject}", "有{subject}", "这是{bare}"),
        ("{moves}", "{moves}", "它{moves}", "正在{moves}", "动作是{moves}", "要{moves}", "不停{moves}"),
        ("{look}背景", "{look}", "背景{look}", "背景是{look}", "在{look}前", "{look}的背景", "后面{look}"),
    ),
    joints=(
        "，",
        "，",
        " ",
        "；",
        "。",
        "、",
        " / ",
        " + ",
        "…",
        "并且",
        "，然后",
        "：",
        "|",
        "，同时",
        "，就",
        "还有",
        "，其实",
    ),
    nothing=NOTHING,
    trigger_closers=("，{}", "，{}风格"),
    phrases=phrases,
)
