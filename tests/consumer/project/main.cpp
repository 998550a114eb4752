#include <all_formats.h>
#include <all_writers.h>

#include <iostream>

int main() {
  for (const auto& format : vmconvert::all_formats()) std::cout << format.name << '\n';
  for (const auto& format : vmconvert::all_writers()) std::cout << format.name << '\n';
}
