"""Made-up names of people and vessels, in upper case and NFC as a civil register writes them.

Four words, or three of a Khmer pattern, so that a name is long enough to be searched for in a log.
"""

from random import Random
from typing import Literal

Sex = Literal["male", "female"]

SHARE_KHMER = 0.08


def _words(text: str, between: str = " ") -> tuple[str, ...]:
    return tuple(text.split(between))


FAMILIES = _words(
    "NGUYỄN TRẦN LÊ PHẠM HUỲNH HOÀNG PHAN VÕ ĐẶNG BÙI ĐỖ HỒ NGÔ DƯƠNG LÝ TRƯƠNG MAI CAO LƯU QUÁCH TẠ TÔ LÂM TĂNG ÂU"
)
MIDDLES: dict[Sex, tuple[str, ...]] = {
    "male": _words("VĂN HỮU ĐỨC CÔNG QUỐC THANH TRỌNG ĐÌNH BÁ TẤN PHƯỚC HOÀI NHẬT THẾ CHÍ"),
    "female": _words("THỊ NGỌC THU MỸ BÍCH KIM HỒNG DIỆU CẨM TUYẾT THÙY MỘNG NHƯ ÁNH QUỲNH"),
}
SECOND_MIDDLES: dict[Sex, tuple[str, ...]] = {
    "male": _words("KHÁNH GIA TƯỜNG HẢI TRÍ VĨNH LONG PHÚ SƠN ĐĂNG BẢO THIỆN NGUYÊN THÁI DUY"),
    "female": _words("LAN HƯƠNG YẾN TRÚC THẢO MINH BẢO XUÂN HOÀI PHƯƠNG HẠNH THANH AN ĐÔNG TƯỜNG"),
}
GIVEN: dict[Sex, tuple[str, ...]] = {
    "male": _words(
        "ANH BÌNH CƯỜNG DŨNG ĐẠT GIANG HẬU HIẾU HÙNG HUY KHẢI KIỆT LỘC LUÂN MẪN NGHĨA NHÂN PHONG QUANG SANG "
        "TÀI THẮNG THỊNH TÍN TOÀN TRUNG TUẤN VIỆT VINH VŨ"
    ),
    "female": _words(
        "ÁNH CHÂU DIỄM DUNG ĐÀO GIÀU HÀ HẰNG HIỀN HOA HUỆ KHUÊ LIÊN LOAN LY MẬN NGA NGÂN NHUNG OANH "
        "PHƯỢNG QUYÊN SEN TÂM THẮM THOA THƯ TRÂM UYÊN VY"
    ),
}
KHMER_FAMILIES = _words("DANH CHAU NEÁNG THẠCH SƠN KIM")
KHMER_MIDDLES = _words("SÀ SÓC KIM SA CHANH ĐA THI SÔ PHOL RA")
KHMER_GIVEN = _words("RƯƠL MEAL PHÊNH KHƯƠNG THƯƠNL NHƯƠNG SARƯƠNE PHALLA CHANTHƯƠN KHEMRA SOPHIÊNG VISAL")
VESSELS = _words(
    "BÌNH MINH;HẢI ÂU;THUẬN PHÁT;PHÚ QUÝ;TÂN TIẾN;NGỌC HẢI;KIM NGÂN;ĐẠI DƯƠNG;SAO BIỂN;HỒNG PHÚC;THÀNH CÔNG;"
    "BIỂN XANH;AN THỚI;NAM DU;HÒN TRE;TRƯỜNG SA",
    ";",
)


def full_name(chance: Random, sex: Sex) -> str:
    """Make up a full name of three or four words."""
    if chance.random() < SHARE_KHMER:
        return " ".join(map(chance.choice, (KHMER_FAMILIES, KHMER_MIDDLES, KHMER_GIVEN)))
    return " ".join(map(chance.choice, (FAMILIES, MIDDLES[sex], SECOND_MIDDLES[sex], GIVEN[sex])))


def vessel_name(chance: Random) -> str:
    """Make up the name that is painted on a vessel."""
    return f"{chance.choice(VESSELS)} {chance.randrange(1, 100):02d}"
