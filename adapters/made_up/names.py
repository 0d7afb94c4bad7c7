"""Made-up names of people and vessels, in upper case and NFC as a civil register writes them.

Four words, or three of a Khmer pattern, so that a name is long enough to be searched for in a log.
"""

from random import Random
from typing import Literal

Sex = Literal["male", "female"]

FAMILIES = (
    "NGUYỄN TRẦN LÊ PHẠM HUỲNH HOÀNG PHAN VÕ ĐẶNG BÙI ĐỖ HỒ NGÔ DƯƠNG LÝ TRƯƠNG MAI CAO LƯU QUÁCH TẠ TÔ LÂM TĂNG ÂU"
).split()
MIDDLES: dict[Sex, list[str]] = {
    "male": "VĂN HỮU ĐỨC CÔNG QUỐC THANH TRỌNG ĐÌNH BÁ TẤN PHƯỚC HOÀI NHẬT THẾ CHÍ".split(),
    "female": "THỊ NGỌC THU MỸ BÍCH KIM HỒNG DIỆU CẨM TUYẾT THÙY MỘNG NHƯ ÁNH QUỲNH".split(),
}
SECOND_MIDDLES: dict[Sex, list[str]] = {
    "male": "KHÁNH GIA TƯỜNG HẢI TRÍ VĨNH LONG PHÚ SƠN ĐĂNG BẢO THIỆN NGUYÊN THÁI DUY".split(),
    "female": "LAN HƯƠNG YẾN TRÚC THẢO MINH BẢO XUÂN HOÀI PHƯƠNG HẠNH THANH AN ĐÔNG TƯỜNG".split(),
}
GIVEN: dict[Sex, list[str]] = {
    "male": (
        "ANH BÌNH CƯỜNG DŨNG ĐẠT GIANG HẬU HIẾU HÙNG HUY KHẢI KIỆT LỘC LUÂN MẪN NGHĨA NHÂN PHONG QUANG SANG "
        "TÀI THẮNG THỊNH TÍN TOÀN TRUNG TUẤN VIỆT VINH VŨ"
    ).split(),
    "female": (
        "ÁNH CHÂU DIỄM DUNG ĐÀO GIÀU HÀ HẰNG HIỀN HOA HUỆ KHUÊ LIÊN LOAN LY MẬN NGA NGÂN NHUNG OANH "
        "PHƯỢNG QUYÊN SEN TÂM THẮM THOA THƯ TRÂM UYÊN VY"
    ).split(),
}
KHMER_FAMILIES = "DANH CHAU NEÁNG THẠCH SƠN KIM".split()
KHMER_MIDDLES = "SÀ SÓC KIM SA CHANH ĐA THI SÔ PHOL RA".split()
KHMER_GIVEN = "RƯƠL MEAL PHÊNH KHƯƠNG THƯƠNL NHƯƠNG SARƯƠNE PHALLA CHANTHƯƠN KHEMRA SOPHIÊNG VISAL".split()
VESSELS = (
    "BÌNH MINH;HẢI ÂU;THUẬN PHÁT;PHÚ QUÝ;TÂN TIẾN;NGỌC HẢI;KIM NGÂN;ĐẠI DƯƠNG;SAO BIỂN;HỒNG PHÚC;THÀNH CÔNG;"
    "BIỂN XANH;AN THỚI;NAM DU;HÒN TRE;TRƯỜNG SA"
).split(";")


def full_name(chance: Random, sex: Sex) -> str:
    """Make up a full name of three or four words."""
    if chance.random() < 0.08:
        return " ".join(map(chance.choice, (KHMER_FAMILIES, KHMER_MIDDLES, KHMER_GIVEN)))
    return " ".join(map(chance.choice, (FAMILIES, MIDDLES[sex], SECOND_MIDDLES[sex], GIVEN[sex])))


def vessel_name(chance: Random) -> str:
    """Make up the name that is painted on a vessel."""
    return f"{chance.choice(VESSELS)} {chance.randrange(1, 100):02d}"
