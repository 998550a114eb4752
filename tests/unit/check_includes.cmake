# The direction of dependencies, read from the #include lines:
#   base <- io <- model <- kernel <- convert; formats and writers use base, io, model and themselves; the core
#   knows neither, no format knows another, no writer another, only the tables of each know all.
cmake_minimum_required(VERSION 3.25)

set(violations "")

# Every quoted include of the files that match `glob` has to match `allowed`.
function(allow glob allowed)
  file(GLOB_RECURSE files RELATIVE ${SOURCE} ${SOURCE}/${glob}/*.h ${SOURCE}/${glob}/*.cpp)
  if(files STREQUAL "")
    message(FATAL_ERROR "no files in ${glob}")
  endif()
  foreach(file ${files})
    file(STRINGS ${SOURCE}/${file} lines REGEX "^[ \t]*#[ \t]*include[ \t]*\"")
    foreach(line ${lines})
      string(REGEX REPLACE "^[^\"]*\"([^\"]*)\".*" "\\1" header "${line}")
      if(NOT header MATCHES "${allowed}")
        list(APPEND violations "${file} includes ${header}")
      endif()
    endforeach()
  endforeach()
  set(violations "${violations}" PARENT_SCOPE)
endfunction()

allow(src/vmconvert/base "^vmconvert/base/")
allow(src/vmconvert/io "^vmconvert/(base|io)/")
allow(src/vmconvert/model "^vmconvert/(base|io|model)/")
allow(src/vmconvert/kernel "^vmconvert/(base|io|model|kernel)/")
allow(src/vmconvert/convert "^vmconvert/(base|io|model|kernel|convert)/")
foreach(side formats writers)
  file(GLOB folders RELATIVE ${SOURCE}/${side} ${SOURCE}/${side}/*)
  foreach(folder ${folders})
    if(IS_DIRECTORY ${SOURCE}/${side}/${folder})
      allow(${side}/${folder} "^(vmconvert/(base|io|model)|${folder})/")
    endif()
  endforeach()
endforeach()

if(violations)
  list(JOIN violations "\n  " text)
  message(FATAL_ERROR "layers reach across:\n  ${text}")
endif()
