# What `cmake --install` puts where. The CMake package and the pkg-config file are for linking the VFS statically.

include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/turso_vfs)

if(TARGET turso_vfs)
  install(TARGETS turso_vfs LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(TARGET turso_preload)
  install(TARGETS turso_preload LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
# What languages read at their start.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/extension/hooks DESTINATION ${CMAKE_INSTALL_DATADIR}/turso_vfs
  PATTERN __pycache__ EXCLUDE)
if(TARGET turso-primary)
  install(TARGETS turso-primary RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(EXISTS ${PROJECT_SOURCE_DIR}/extension/turso_vfs.h)
  install(FILES ${PROJECT_SOURCE_DIR}/extension/turso_vfs.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()

if(TARGET turso_vfs_static)
  set(modules turso_replica turso_remote turso_http turso_wire turso_changes turso_format turso_wal turso_base)
  target_include_directories(turso_vfs_static INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  install(TARGETS turso_vfs_static ${modules} EXPORT turso_vfs
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT turso_vfs NAMESPACE turso:: DESTINATION ${package_dir} FILE turso_vfs-targets.cmake)
  configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/turso_vfs-config.cmake.in
    ${PROJECT_BINARY_DIR}/turso_vfs-config.cmake INSTALL_DESTINATION ${package_dir})
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/turso_vfs-config-version.cmake
    COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/turso_vfs-config.cmake
    ${PROJECT_BINARY_DIR}/turso_vfs-config-version.cmake DESTINATION ${package_dir})

  set(archives "")
  foreach(module turso_vfs_static ${modules})
    get_target_property(type ${module} TYPE)
    if(type STREQUAL STATIC_LIBRARY)
      string(APPEND archives " -l${module}")
    endif()
  endforeach()
  # Relative, so that `cmake --install --prefix` may put it elsewhere than was configured.
  file(RELATIVE_PATH to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  configure_file(${CMAKE_CURRENT_LIST_DIR}/turso_vfs.pc.in ${PROJECT_BINARY_DIR}/turso_vfs.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/turso_vfs.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()

