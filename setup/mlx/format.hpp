// A small std::format for compilers whose library has none (GCC 12). mlx-c uses it in five error messages, with `{}` and
// plain arguments only. Forced in front of every mlx-c source by setup/engines.py; empty where the library has the real one.
#pragma once
#ifdef __cplusplus
#include <version>
#ifndef __cpp_lib_format
#include <sstream>
#include <string>
#include <string_view>

namespace std {
inline void t2m_format_rest(ostringstream& out, string_view pattern) {
  out << pattern;
}

template <typename First, typename... Rest>
void t2m_format_rest(ostringstream& out, string_view pattern, const First& first, const Rest&... rest) {
  const auto hole = pattern.find("{}");
  if (hole == string_view::npos) {
    out << pattern;
    return;
  }
  out << pattern.substr(0, hole) << first;
  t2m_format_rest(out, pattern.substr(hole + 2), rest...);
}

template <typename... Args>
string format(string_view pattern, const Args&... args) {
  ostringstream out;
  t2m_format_rest(out, pattern, args...);
  return out.str();
}
} // namespace std
#endif
#endif
