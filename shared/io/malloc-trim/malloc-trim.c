/* A Node addon of one function: gives the C library's free memory back to the kernel. What it allocates piece by
   piece (TLS, HTTP/2, buffers of an image's import) it keeps when one piece above is still in use: 13 MiB in
   shoald after an import of 2 MiB. Built by build.sh; without it the memory stays where it is. */
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>

/* The few lines of Node-API that are needed; Node's headers are not on every host. */
typedef struct napi_env__ *napi_env;
typedef struct napi_value__ *napi_value;
typedef struct napi_callback_info__ *napi_callback_info;
typedef napi_value (*napi_callback)(napi_env, napi_callback_info);
extern int napi_create_function(napi_env, const char *, size_t, napi_callback, void *, napi_value *);
extern int napi_set_named_property(napi_env, napi_value, const char *, napi_value);

static napi_value trim(napi_env env, napi_callback_info info) {
  (void)env;
  (void)info;
  malloc_trim(0);
  return NULL; /* undefined */
}

__attribute__((visibility("default"))) int32_t node_api_module_get_api_version_v1(void) { return 8; }

__attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  napi_value function;
  if (napi_create_function(env, "mallocTrim", 10, trim, NULL, &function) == 0)
    napi_set_named_property(env, exports, "mallocTrim", function);
  return exports;
}
