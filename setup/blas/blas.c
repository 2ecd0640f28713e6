// The BLAS and LAPACK under MLX on Linux. MLX's wheel ships the reference BLAS, which takes some twenty times as long as an
// OpenBLAS. This library has the names that libmlx.so calls (names.h, written by setup/engines.py: one FORWARD(name) a line)
// and sends each call on to the one that was chosen. t2m-mlx links it, so its names are found before the wheel's.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Set-up leaves OpenBLAS out where it is told so.
#ifndef DEFAULT_BLAS
#define DEFAULT_BLAS "openblas"
#endif

static void not_chosen(void) {
    fputs("a BLAS function was called before t2m_blas_use\n", stderr);
    abort();
}

// Where each call goes, and a jump there. A jump keeps registers and stack as they are, whatever the function takes.
#define FORWARD(name) \
    static void *name##_target __attribute__((used)) = (void *)not_chosen; \
    __asm__(".text\n.globl " #name "\n.type " #name ", @function\n" #name ": jmp *" #name "_target(%rip)\n.size " #name ", .-" #name "\n");
#include "names.h"
#undef FORWARD

static char why_not[512];
static char in_words[256] = "none";

static const char *file_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// Takes each name from `library`, with `prefix` in front. False where one is not there.
static int forward_to(void *library, const char *prefix) {
    char name[64];
#define FORWARD(function) \
    snprintf(name, sizeof name, "%s" #function, prefix); \
    if (!(function##_target = dlsym(library, name))) { \
        snprintf(why_not, sizeof why_not, "the BLAS has no function %s", name); \
        return 0; \
    }
#include "names.h"
#undef FORWARD
    return 1;
}

static int use_openblas(void) {
    // Found beside this library, by its run path.
    void *library = dlopen("libscipy_openblas.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(why_not, sizeof why_not, "OpenBLAS cannot be loaded: %s", dlerror());
        return 0;
    }
    const char *(*config)(void) = (const char *(*)(void))dlsym(library, "scipy_openblas_get_config");
    const char *(*core)(void) = (const char *(*)(void))dlsym(library, "scipy_openblas_get_corename");
    if (!config || !core || !forward_to(library, "scipy_")) {
        return 0;
    }
    // "OpenBLAS 0.3.34 NO_AFFINITY …": the name and the version. The kernels, picked for the processor, decide the rounding.
    const char *text = config();
    const char *name_end = strchr(text, ' ');
    const char *end = name_end ? strchr(name_end + 1, ' ') : NULL;
    int length = end ? (int)(end - text) : (int)strlen(text);
    snprintf(in_words, sizeof in_words, "%.*s %s", length, text, core());
    return 1;
}

static int use_reference(void) {
    Dl_info place;
    if (!forward_to(RTLD_NEXT, "")) {
        return 0;
    }
    if (dladdr(cblas_sgemm_target, &place) && place.dli_fname) {
        snprintf(in_words, sizeof in_words, "reference (%s)", file_name(place.dli_fname));
    }
    return 1;
}

// Chooses: "openblas", "reference", or NULL for the default. To be called once, before MLX computes. Returns NULL, or why not.
const char *t2m_blas_use(const char *which) {
    if (!which || !*which) {
        which = DEFAULT_BLAS;
    }
    strcpy(why_not, "the BLAS is not as it was when this was built");
    if (strcmp(which, "openblas") == 0) {
        return use_openblas() ? NULL : why_not;
    }
    if (strcmp(which, "reference") == 0) {
        return use_reference() ? NULL : why_not;
    }
    snprintf(why_not, sizeof why_not, "there is no BLAS \"%.100s\"; it is openblas or reference", which);
    return why_not;
}

// What computes, in words. Where somebody preloaded another library, MLX calls that one, and it is named.
const char *t2m_blas_name(void) {
    Dl_info found, ours;
    void *called = dlsym(RTLD_DEFAULT, "cblas_sgemm");
    if (called && dladdr(called, &found) && dladdr((void *)t2m_blas_name, &ours) && found.dli_fbase != ours.dli_fbase) {
        snprintf(in_words, sizeof in_words, "preloaded (%s)", file_name(found.dli_fname));
    }
    return in_words;
}
