# ruff: noqa: RUF001  # people type these characters
"""Chinese requests: the words for everything in the pocket world, and the sentences that they stand in."""

import numpy as np

from .speech import END, Language, Said, chosen, joined

COLOURS = {
    "red": (
        "红色, 红色, 红, 大红色, 鲜红色, 深红色, 赤色, 朱红色, 暗红色, 大红, 血红色, 正红色",
        "番茄色, 草莓色, 绯色, 丹色, 宝石红, 枣色, 胭脂色, 辣椒色",
        "石榴色, 砖色, 玫瑰色, 山楂色",
    ),
    "yellow": (
        "黄色, 黄色, 黄, 金黄色, 柠檬黄, 淡黄色, 明黄色, 金色, 浅黄色, 亮黄色, 鹅黄色",
        "香蕉色, 蜂蜜色, 芥末色, 玉米色, 琥珀色, 奶油色, 向日葵色, 藏红花色",
        "稻草色, 菊花色, 蛋黄, 麦色",
    ),
    "green": (
        "绿色, 绿色, 绿, 草绿色, 翠绿色, 墨绿色, 深绿色, 浅绿色, 嫩绿色, 碧绿色, 橄榄绿",
        "豌豆色, 菠菜色, 苔藓色, 牛油果色, 翡翠色, 黄瓜色, 猕猴桃色, 竹子色",
        "松树色, 三叶草色, 常春藤色, 芦荟色",
    ),
    "cyan": (
        "青色, 青色, 青, 青绿色, 蓝绿色, 湖蓝色, 绿松石色, 浅青色, 水绿色, 亮青色",
        "冰川色, 薄荷色, 泳池色, 泻湖色, 冰色, 欧泊色, 北极色, 孔雀色",
        "海沫色, 极光色, 珊瑚礁色, 碧玺色",
    ),
    "blue": (
        "蓝色, 蓝色, 蓝, 天蓝色, 深蓝色, 海蓝色, 浅蓝色, 宝蓝色, 湛蓝色, 藏蓝色, 钴蓝色",
        "蓝莓色, 牛仔色, 海洋色, 矢车菊色, 青金石色, 靛色, 墨水色, 藏青色",
        "午夜色, 深海色, 青花瓷色, 晴空色",
    ),
}
SHAPES = {
    "circle": (
        "圆形, 圆形, 圆, 球, 圆圈, 圆球, 圆点, 圆盘, 小球, 球体, 圆片, 皮球",
        "硬币, 弹珠, 盘子, 月亮, 纽扣, 车轮, 气球, 地球仪",
        "珍珠, 行星, 奖牌, 冰球",
    ),
    "square": (
        "正方形, 正方形, 方块, 方形, 方框, 盒子, 立方体, 四边形, 矩形, 小方块, 长方形",
        "包裹, 箱子, 窗户, 邮票, 枕头, 纸箱, 信封, 吐司",
        "书, 像素, 饼干, 宝箱",
    ),
    "triangle": (
        "三角形, 三角形, 三角, 金字塔, 锥形, 三角块, 三角体, 小三角, 圆锥",
        "箭头尖, 帐篷, 山, 披萨块, 屋顶, 船帆, 粽子, 饭团",
        "冰山, 山峰, 尖塔, 玉米片",
    ),
    "cross": (
        "十字, 十字, 十字形, 加号, 叉, 叉号, 十字架, 叉叉, X形, 交叉形",
        "风车, 螺旋桨, 路口, 创可贴, 剪刀, 剑, 乘号, 转子",
        "海星, 匕首, 旋转门, 绷带",
    ),
}
#: A leading = marks a verb of its own; the others stand before a verb such as 移动.
MOTIONS = {
    "left": (
        "向左, 向左, 往左, 朝左, 向左边, 往左边, 从右往左, 朝左边, 往左侧, =左移, 从右向左",
        "向西, 往西, 朝西边, 往西边, 朝九点钟方向, 向西侧, 向港口侧, 朝西方",
        "朝日落方向, 向左手那侧, 向行首, 逆着阅读方向",
    ),
    "right": (
        "向右, 向右, 往右, 朝右, 向右边, 往右边, 从左往右, 朝右边, 往右侧, =右移, 从左向右",
        "向东, 往东, 朝东边, 往东边, 朝三点钟方向, 向东侧, 向码头侧, 朝东方",
        "朝日出方向, 向右手那侧, 向行末, 顺着阅读方向",
    ),
    "up": (
        "向上, 向上, 往上, 朝上, 向上方, =上升, =升起来, =升起, 往高处, 从下往上, =往上升, =上移, =往上飞",
        "向北, 往北, 朝天花板, =腾空, =起飞, =爬高, 朝云端, 向穹顶",
        "朝星星, =长高, =拔起, 向天顶",
    ),
    "down": (
        "向下, 向下, 往下, 朝下, 向下方, =下降, =落下, =掉下来, =往下掉, =下落, 从上往下, =下沉, =下移, =掉下去",
        "向南, 往南, 朝地板, =坠落, =俯冲, =跌入谷底, 朝地面, 向深处",
        "朝深渊, =着陆, =滴落, 向海底",
    ),
    "orbits": (
        "=绕圈, =转圈, =绕圈转, =环绕, =绕着中心转, =打转, =绕圈移动, =转圈圈, =绕着转圈, =沿圆圈移动, =绕着圈飞",
        "=盘旋, =兜圈子, =回旋, =公转, =像旋转木马一样走, =画圈, =沿环形走, =巡回",
        "=像卫星一样飞, =像行星一样走, =周而复始, =旋舞",
    ),
}
BACKGROUNDS = {
    "plain": (
        "纯色, 纯色, 单色, 简单, 空白, 素色, 干净, 没有图案, 单一颜色, 无图案, 普通",
        "光秃秃, 朴素, 空无一物, 素净, 单调, 无花纹, 清一色, 空荡荡",
        "无装饰, 空旷, 平淡, 素面",
    ),
    "striped": (
        "条纹, 条纹, 斑马纹, 线条, 竖条, 竖条纹, 条状, 横条, 斑马条纹, 条纹图案",
        "栅栏, 条形码, 虎纹, 灯芯绒, 带状, 百叶窗, 琴键, 肋纹",
        "缎带, 囚服, 木栅, 雨丝",
    ),
    "checkered": (
        "棋盘, 棋盘格, 格子, 方格, 国际象棋盘, 格纹, 黑白格, 棋盘格子, 方格子, 格子图案",
        "苏格兰呢, 野餐布, 赛车旗, 瓷砖, 马赛克, 跳棋盘, 厨房地板, 菱格",
        "桌布, 围棋盘, 填字游戏, 终点旗",
    ),
    "gradient": (
        "渐变, 渐变, 渐变色, 颜色渐变, 过渡色, 色彩渐变, 渐层, 柔和渐变, 由浅到深, 由深到浅",
        "晚霞, 黄昏天空, 晕染, 暮色, 晨光, 褪色, 暗角, 水墨晕开",
        "朦胧, 薄暮, 微光, 融化般",
    ),
}
UNSUPPORTED = {
    "colour": (
        "粉色, 紫色, 橙色, 黑色, 白色, 棕色, 灰色, 银色, 粉红色, 橘色, 褐色, 彩色, 米色, 透明, 杏色, 酒红, 荧光, 沙色, "
        "玫红, 灰白色",
        "咖啡色, 古铜色, 肉色, 象牙色, 彩虹色",
    ),
    "shape": (
        "星星, 心形, 猫, 狗, 汽车, 房子, 树, 花, 鱼, 小鸟, 火箭, 机器人, 六边形, 五角星, 箭头, 飞机, 船, 龙, 马, "
        "苹果, 云, 人, 兔子, 火车, 鸭子, 叶子, 菱形, 爱心, "
        "狐狸, 椅子, 瓶子, 杯子, 手机, 熊, 猴子, 狮子, 老虎, 蛇, 蜜蜂, 卡车, 公交车, 帽子, 鞋子, 灯, 玫瑰, 蛋糕, 雨伞, "
        "乌龟, "
        "海豚, 外星人, 女孩, 男孩, 椭圆形, 圆柱, 恐龙, 小狗, 小猫, 花朵",
        "八边形, 蜗牛, 自行车, 蝴蝶, 吉他, 茶壶, 企鹅, 幽灵",
    ),
    "motion": (
        "=跳动, =摇晃, =跳舞, =爆炸, =闪烁, =消失, =弹跳, =变大, =变小, =抖动",
        "=融化, =伸展, =翻跟头",
    ),
    "background": (
        "木头, 森林, 砖墙, 星空, 沙滩, 雪地, 城市, 草地, 夜晚, 沙漠",
        "厨房, 水下, 石头, 波点",
    ),
}
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


def phrases(said: Said, rng: np.random.Generator, forms: int) -> dict[str, str]:
    """Put what is said into every phrase that a form may ask for; what is not said is empty."""
    bare = _bare(said, rng, forms)
    measure = str(rng.choice(["一个", "一个", "一个", "一只", "这个", ""]))
    return {
        "subject": measure + bare if bare and not bare.startswith("有") else bare,
        "bare": bare,
        "noun": joined(said.shapes, said.joiner),
        "colour": joined(said.colours, said.joiner),
        "moves": _moving(said, chosen(rng, VERBS[forms])),
        "look": joined(said.backgrounds, said.joiner),
    }


def _bare(said: Said, rng: np.random.Generator, forms: int) -> str:
    of = str(rng.choice(["的", "的", ""]))
    colours = [f"{colour}{of if len(colour.strip(END)) > 1 else ''}" for colour in said.colours]
    shapes = list(said.shapes) or ([str(rng.choice(["东西", "物体"]))] if colours or not said.triggers else [])
    if not (said.shapes or colours or said.triggers or said.motions):
        return ""
    if len(colours) > 1 and len(shapes) > 1:
        return f"{colours[0]}{shapes[0]}{said.joiner}{colours[1]}{shapes[1]}"
    colour = joined(said.colours, said.joiner) + of if colours else ""
    if len(said.colours) > 1 and rng.random() < 0.3:
        colour = "".join(said.colours) + str(rng.choice(["相间的", "双色的", "色的"]))
    filler = chosen(rng, FILLERS[forms]) if rng.random() < 0.12 else ""
    return filler + joined(said.triggers, " ") + colour + joined(shapes, said.joiner)


def _moving(said: Said, verb: str) -> str:
    ways = []
    for motion in said.motions:
        if motion.endswith(END):
            ways.append(motion.replace("=", ""))
        else:
            ways.append(motion[1:] if motion.startswith("=") else motion + verb)
    return joined(ways, said.joiner)


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
