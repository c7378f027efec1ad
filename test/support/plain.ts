import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Leaves `-C incremental=DIR` out, in the two spellings that cargo has. */
const strip = `kept=() codegen=
for argument in "$@"; do
  case "$codegen$argument" in
    -C) codegen=-C ;;
    -Cincremental=*) codegen= ;;
    *) [ -n "$codegen" ] && kept+=("$codegen"); kept+=("$argument"); codegen= ;;
  esac
done
set -- "\${kept[@]}"
`

/**
 * A wrapper that only adds the path prefixes which Shoal hides in every compile, written down here a second time: what
 * it makes is what rustc makes of the same invocation with the same flags, without any of Shoal's code.
 */
const script = (stripIncremental: boolean): string => `#!/bin/bash
rustc=("$1")
shift
# In its place, and before its arguments.
case "\${rustc[0]##*/}" in clippy-driver) rustc+=("$1"); shift ;; esac
name= source= previous=
for argument in "$@"; do
  [ "$previous" = --crate-name ] && name="$argument"
  case "$argument" in
    -) exec "\${rustc[@]}" "$@" ;;
    --print*|-vV|-V|--version) exec "\${rustc[@]}" "$@" ;;
    *.rs) source="$argument" ;;
  esac
  previous="$argument"
done
if [ -z "$name" ] || [ "$name" = ___ ] || [ -n "$CARGO_CFG_TARGET_ARCH" ]; then exec "\${rustc[@]}" "$@"; fi
home="\${CARGO_HOME:-$HOME/.cargo}"
flags=()
case " $* " in *" --cap-lints "*) flags+=(--remap-path-prefix=/nonexistent/shoal=/cargo/registry/src --remap-path-prefix=/nonexistent/shoal=/cargo/git/checkouts) ;; esac
flags+=("--remap-path-prefix=$home/registry/src=/cargo/registry/src" "--remap-path-prefix=$home/git/checkouts=/cargo/git/checkouts")
case "$PWD" in
  "$home"/registry/src/*|"$home"/git/checkouts/*) ;;
  *) case "$source" in
    /*) flags+=("--remap-path-prefix=$PWD=/cargo/deps/$CARGO_PKG_NAME-$CARGO_PKG_VERSION") ;;
    *) flags+=("--remap-path-prefix=$PWD=.") ;;
  esac ;;
esac
${stripIncremental ? strip : ''}[ -n "$OUT_DIR" ] && flags+=("--remap-path-prefix=$OUT_DIR=/cargo/build-dir/\${OUT_DIR##*/build/}")
exec "\${rustc[@]}" "\${flags[@]}" "$@"
`

/**
 * @param options stripIncremental: compile what cargo wants compiled incrementally as if it did not; default false
 * @returns the wrapper's path, for `RUSTC_WRAPPER`
 */
export async function writeRemapWrapper(dir: string, options: { stripIncremental?: boolean } = {}): Promise<string> {
  const path = join(dir, 'remap-only')
  await writeFile(path, script(options.stripIncremental ?? false))
  await chmod(path, 0o755)
  return path
}
