#include "vmconvert/model/kernel_facts.h"

#include <doctest/doctest.h>

namespace vmconvert::test {
namespace {

TEST_CASE("vmcoreinfo: values are those of whole keys") {
  const Vmcoreinfo info{"OSRELEASE=6.1\nPAGESIZE=4096\nEMPTY=\nNUMBER(x)=-5", ""};
  CHECK(info.value("OSRELEASE") == "6.1");
  CHECK(info.value("NUMBER(x)") == "-5");
  CHECK(info.value("EMPTY") == "");
  CHECK_FALSE(info.value("OSREL"));
  CHECK_FALSE(info.value("SIZE"));
  CHECK_FALSE(Vmcoreinfo{}.value("OSRELEASE"));
}

TEST_CASE("vmcoreinfo: numbers are read whole or not at all") {
  const Vmcoreinfo info{
      "NUMBER(phys_base)=-4194304\nNUMBER(mask)=0xffffffffffffffff\nSYMBOL(a)=ffffffff81000000\n"
      "KERNELOFFSET=1f000000\nSYMBOL(b)=12x\nNUMBER(c)=\nNUMBER(d)=99999999999999999999\n"
      "NUMBER(e)=0x",
      ""};
  CHECK(info.number("phys_base") == -4194304);
  CHECK(info.number("mask") == -1);
  CHECK(info.symbol("a") == 0xffffffff81000000);
  CHECK(info.hex_value("KERNELOFFSET") == 0x1f000000);
  CHECK_FALSE(info.symbol("b"));
  for (const char* name : {"c", "d", "e", "none"}) CHECK_FALSE(info.number(name));
}

}  // namespace
}  // namespace vmconvert::test
