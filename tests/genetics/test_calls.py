import gzip
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.core.errors import MissingExtraError, TableError
from genovox.genetics.calls import CallFile, read_calls, trim_alleles

GENES = ("BRCA1", "BRCA2", "CHEK2")
HEAD = "##fileformat=VCFv4.2\n##contig=<ID=chr17,length=83257441>\n##contig=<ID=chr13,length=114364328>\n"
FORMATS = "".join(
    f'##FORMAT=<ID={name},Number=.,Type={kind},Description="x">\n'
    for name, kind in (("GT", "String"), ("GQ", "Integer"), ("DP", "Integer"), ("AD", "Integer"))
)
TITLES = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT"
C61G = "chr17\t43106487\t.\tA\tC\t50\tPASS\t.\tGT:GQ:DP:AD"


def write_vcf(path: Path, *records: str, head: str = HEAD, samples: str = "p1") -> Path:
    text = head + FORMATS + "\t".join([TITLES, *samples.split()]) + "\n" + "".join(f"{line}\n" for line in records)
    path.write_bytes(gzip.compress(text.encode()) if path.name.endswith("gz") else text.encode())
    return path


def _read(folder: Path, *records: str, **options: Any) -> CallFile:
    return read_calls(write_vcf(folder / "calls.vcf", *records, **options), "calls.vcf", genes=GENES)


def test_calls_of_several_samples(tmp_path: Path) -> None:
    record = f"{C61G}\t0/1:99:40:20,20\t0/0:99:40:40,0\t1|1:99:30:0,30\t./.:.:.:."
    found = _read(tmp_path, record, samples="p1 p2 p3 p4")
    assert (found.assembly, found.is_somatic) == ("GRCh38", False)
    (call,) = found.samples["p1"].calls
    assert call.gene == "BRCA1"
    assert call.names == {"GRCh38:17:43106487:A>C", "c:181t>g"}
    assert call.place == "181"
    assert (call.near_exon, call.weak, call.fraction, call.zygosity) == (True, (), 0.5, "heterozygous")
    assert found.samples["p2"].calls == found.samples["p4"].calls == []
    assert found.samples["p3"].calls[0].zygosity == "homozygous"
    assert found.samples["p4"].uncalled == {"BRCA1": [(43106487, 43106487)]}


def test_packed_and_plain_are_one(tmp_path: Path) -> None:
    record = f"{C61G}\t0/1:99:40:20,20"
    packed = read_calls(write_vcf(tmp_path / "calls.vcf.gz", record), "calls.vcf", genes=GENES)
    assert packed == _read(tmp_path, record)


@pytest.mark.parametrize(
    ("filtered", "sample", "weak"),
    [
        ("LowQual", "0/1:99:40:20,20", ("filter",)),
        ("PASS", "0/1:12:40:20,20", ("genotype quality 12",)),
        ("PASS", "0/1:99:5:3,2", ("depth 5",)),
        (".", "0/1:99:40:36,4", ("allele fraction 0.10",)),
        ("q10;s50", "0/1:5:5:4,1", ("filter", "depth 5", "genotype quality 5", "allele fraction 0.20")),
        ("PASS", "0/1", ()),
        ("PASS", "0/1:.:.:0,0", ()),
    ],
)
def test_weak_calls_say_why(tmp_path: Path, filtered: str, sample: str, weak: tuple[str, ...]) -> None:
    (call,) = _read(tmp_path, f"{C61G}\t{sample}".replace("PASS", filtered)).samples["p1"].calls
    assert call.weak == weak


def test_a_caller_may_give_the_fraction_itself(tmp_path: Path) -> None:
    record = "chr17\t43106487\t.\tA\tG,C\t50\tPASS\t.\tGT:AF\t0/2:0.4,0.08"
    (call,) = _read(tmp_path, record).samples["p1"].calls
    assert (call.fraction, call.weak) == (0.08, ("allele fraction 0.08",))
    assert "GRCh38:17:43106487:A>C" in call.names


def test_several_alleles_and_what_is_no_allele(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        "chr17\t43124027\t.\tACT\tA,ACTCT,*\t9\tPASS\t.\tGT\t1/2",
        "chr17\t43124027\t.\tACT\t*\t9\tPASS\t.\tGT\t0/1",
        "chr17\t43100000\t.\tN\t<DEL>\t9\tPASS\tSVTYPE=DEL;END=43110000\tGT\t0/1",
        "chr1\t43124027\t.\tACT\tA\t9\tPASS\t.\tGT\t0/1",
        "chr17\t100\t.\tA\tC\t9\tPASS\t.\tGT\t0/1",
        "chr17\t43106487\t.\tA\tC\t9\tPASS\t.\tGT\t0/7",
    )
    calls = found.samples["p1"].calls
    assert [sorted(call.names) for call in calls] == [
        ["GRCh38:17:43124027:ACT>A"],
        ["GRCh38:17:43124027:A>ACT"],
        ["GRCh38:17:43100000-43110000:<DEL>"],
    ]
    assert calls[2].near_exon


def test_how_far_from_an_exon(tmp_path: Path) -> None:
    """c.80+1G>A, c.80+20, c.80+21: BRCA1's second exon ends at 43124017 and reads backwards."""
    records = [f"chr17\t{43124017 - offset}\t.\tC\tT\t9\tPASS\t.\tGT\t0/1" for offset in (1, 20, 21)]
    assert [call.near_exon for call in _read(tmp_path, *records).samples["p1"].calls] == [True, True, False]


def test_a_gvcf_says_what_was_read(tmp_path: Path) -> None:
    found = _read(
        tmp_path,
        "chr17\t43044295\t.\tA\t<NON_REF>\t.\t.\tEND=43044400\tGT:GQ:MIN_DP\t0/0:60:30",
        "chr17\t43044401\t.\tA\t<NON_REF>\t.\t.\tEND=43044500\tGT:GQ:MIN_DP\t0/0:60:3",
        "chr17\t43044501\t.\tA\t<NON_REF>\t.\t.\tEND=43044600\tGT:GQ:MIN_DP\t0/0:6:30",
        "chr17\t43044601\t.\tA\t<NON_REF>\t.\t.\tEND=43044700\tGT:GQ:MIN_DP\t./.:60:30",
        "chr17\t43106487\t.\tA\tC,<NON_REF>\t50\tPASS\t.\tGT:GQ:DP:AD\t0/1:99:40:20,20,0",
    )
    sample = found.samples["p1"]
    assert sample.read == {"BRCA1": [(43044295, 43044400), (43106487, 43106487)]}
    assert len(sample.calls) == 1


@pytest.mark.parametrize(
    ("head", "assembly"),
    [
        ("##contig=<ID=17,length=81195210>", "GRCh37"),
        ("##contig=<ID=NC_000017.11,length=83257441>", "GRCh38"),
        ("##contig=<length=83257441,ID=17>", "GRCh38"),
        ("##contig=<ID=17,assembly=b37>", "GRCh37"),
        ("##reference=file:///data/hg38.fa", "GRCh38"),
        ("##reference=human_g1k_v37.fasta", "GRCh37"),
        ("##assembly=GRCh38", "GRCh38"),
    ],
)
def test_the_assembly_is_told(tmp_path: Path, head: str, assembly: str) -> None:
    assert _read(tmp_path, head=f"##fileformat=VCFv4.2\n{head}\n").assembly == assembly


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("", "got nothing that tells it; add a line such as ##reference=GRCh38"),
        ("##contig=<ID=17,length=81195210>\n##reference=hg38\n", "got GRCh37 and GRCh38"),
        ("##contig=<ID=17,length=81195210>\n##contig=<ID=13,length=114364328>\n", "got GRCh37 and GRCh38"),
        ("##contig=<ID=chr17,length=84276897>\n", "got contigs of 84276897 bases"),
        ("##source=GRCh38\n", "got nothing that tells it"),
    ],
)
def test_an_assembly_that_cannot_be_told_is_refused(tmp_path: Path, head: str, words: str) -> None:
    with pytest.raises(TableError, match=words):
        _read(tmp_path, head=f"##fileformat=VCFv4.2\n{head}")


@pytest.mark.parametrize(
    ("head", "samples", "is_somatic"),
    [
        ("##source=HaplotypeCaller\n", "p1", False),
        ("##source=Mutect2\n", "p1", True),
        ("##GATKCommandLine=<ID=Mutect2>\n", "p1", True),
        ("##tumor_sample=p1\n", "p1", True),
        ('##INFO=<ID=SOMATIC,Number=0,Type=Flag,Description="x">\n', "p1", True),
        ("", "NORMAL TUMOR", True),
    ],
)
def test_somatic_callers_are_known(tmp_path: Path, head: str, samples: str, is_somatic: bool) -> None:
    assert _read(tmp_path, head=HEAD + head, samples=samples).is_somatic == is_somatic


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must start with ##fileformat=VCF"),
        (b"patient,label\n", "must start with ##fileformat=VCF"),
        (b"##fileformat=VCFv4.2\n##reference=hg38\n", "must start with ##fileformat=VCF"),
        (f"{HEAD}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n".encode(), "must hold a column a sample"),
        (f"{HEAD}{TITLES}\tp1\tp1\n".encode(), "must name each sample once"),
        (f"{HEAD}{TITLES}\tp1\nchr17\tx\t.\tA\tC\t.\t.\t.\n".encode(), "a record on chromosome 17 is cut short"),
        (f"{HEAD}{TITLES}\tp1\nchr17\t43106487\t.\tA\n".encode(), "a record on chromosome 17 is cut short"),
        (f"{HEAD}{TITLES}\tp1\tp2\n{C61G}\t0/1\n".encode(), "a record on chromosome 17 is cut short"),
        (f"{HEAD}{TITLES}\tp1\nchr11\t5\t.\tA\tC\t.\t.\t.\tGT\t0/".encode(), "ends within a line"),
        (gzip.compress(b"##fileformat=VCFv4.2\n" * 999, mtime=0)[:-20], "is damaged or cut short"),
        (b"\x1f\x8bnot gzip", "is damaged or cut short"),
    ],
)
def test_what_is_no_vcf(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "calls.vcf"
    path.write_bytes(content)
    with pytest.raises(TableError, match=words) as caught:
        read_calls(path, "calls.vcf", genes=GENES)
    assert "calls.vcf" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="cannot be read"):
        read_calls(tmp_path / "calls.vcf", "calls.vcf", genes=GENES)


def test_a_bcf_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "calls.bcf"
    path.write_bytes(gzip.compress(b"BCF\x02\x02"))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "cyvcf2" else find_spec(name))
    with pytest.raises(MissingExtraError, match=r"calls.bcf \(a BCF\) needs the extra \[genetics\]"):
        read_calls(path, "calls.bcf", genes=GENES)


def test_a_bcf_and_its_vcf_are_one(tmp_path: Path) -> None:
    cyvcf2 = pytest.importorskip("cyvcf2", reason="the extra [genetics] is not installed")
    record = f"{C61G}\t0/1:99:40:20,20\t0/0:99:40:40,0"
    source = write_vcf(tmp_path / "calls.vcf", record, samples="p1 p2")
    reader = cyvcf2.VCF(str(source))
    writer = cyvcf2.Writer(str(tmp_path / "calls.bcf"), reader, mode="wb")
    for line in reader:
        writer.write_record(line)
    writer.close()
    binary = read_calls(tmp_path / "calls.bcf", "calls.vcf", genes=GENES)
    assert binary == read_calls(source, "calls.vcf", genes=GENES)
    assert binary.samples["p1"].calls
    content = (tmp_path / "calls.bcf").read_bytes()
    (tmp_path / "cut.bcf").write_bytes(content[: len(content) // 2])
    with pytest.raises(TableError):
        read_calls(tmp_path / "cut.bcf", "cut.bcf", genes=GENES)


ALLELE = st.text("ACGT", min_size=1, max_size=8)


@given(st.integers(1, 1000), ALLELE, ALLELE)
def test_trimmed_alleles_say_the_same(position: int, reference: str, alternate: str) -> None:
    start, short, other = trim_alleles(position, reference, alternate)
    before, after = reference[: start - position], reference[start - position + len(short) :]
    assert before + short + after == reference
    assert before + other + after == alternate
    assert trim_alleles(start, short, other) == (start, short, other)
    assert min(len(short), len(other)) == 1 or (short[0] != other[0] and short[-1] != other[-1])
