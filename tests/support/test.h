#pragma once

// What every doctest program includes: doctest, printing of our values, and the check of an error.

#include <doctest/doctest.h>

#include <string>

#include "vmconvert/base/address.h"
#include "vmconvert/base/text.h"

namespace doctest {
template <class Tag>
struct StringMaker<vmconvert::Address<Tag>> {
  static String convert(const vmconvert::Address<Tag>& a) {
    return vmconvert::hex(a.value).c_str();
  }
};
template <class A>
struct StringMaker<vmconvert::Range<A>> {
  static String convert(const vmconvert::Range<A>& r) {
    return ("[" + vmconvert::hex(r.begin().value) + ", " + vmconvert::hex(r.end().value) + ")")
        .c_str();
  }
};
}  // namespace doctest

namespace vmconvert::test {

/// The message of the Error that `action` throws; "no error" if it throws none.
template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace vmconvert::test
