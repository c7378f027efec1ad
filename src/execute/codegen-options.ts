const flag = /^(|y|yes|on|true|n|no|off|false)$/

/**
 * The `-C` options of a guest and their values. None of them names a file, starts a program or depends on the processor
 * of the machine that runs rustc.
 */
export const codegenOptions: ReadonlyMap<string, RegExp> = new Map([
  ['code-model', /^(tiny|small|kernel|medium|large)$/],
  ['codegen-units', /^\d{1,4}$/],
  ['debug-assertions', flag],
  ['debuginfo', /^(0|1|2|none|limited|full|line-tables-only|line-directives-only)$/],
  ['embed-bitcode', flag],
  ['extra-filename', /^[\w.-]{0,128}$/],
  ['force-frame-pointers', /^(|y|yes|on|true|always|non-leaf|n|no|off|false|never)$/],
  ['force-unwind-tables', flag],
  ['link-dead-code', flag],
  ['link-self-contained', /^(y|yes|on|n|no|off|[+-]linker)$/],
  ['linker-features', /^[+-]lld$/],
  ['lto', /^(|y|yes|on|true|n|no|off|false|thin|fat)$/],
  ['metadata', /^[\w-]{0,128}$/],
  ['opt-level', /^[0-3sz]$/],
  ['overflow-checks', flag],
  ['panic', /^(unwind|abort)$/],
  ['prefer-dynamic', flag],
  ['relro-level', /^(full|partial|off)$/],
  ['relocation-model', /^(static|pic|pie|dynamic-no-pic|ropi|rwpi|ropi-rwpi|default)$/],
  // Any other kind leaves files beside the library.
  ['split-debuginfo', /^off$/],
  ['strip', /^(none|debuginfo|symbols)$/],
  ['symbol-mangling-version', /^(legacy|v0)$/],
  ['target-cpu', /^(?!native$|help$)[\w.+-]{1,64}$/],
  ['target-feature', /^[+-][\w.-]{1,64}(,[+-][\w.-]{1,64})*$/],
])
