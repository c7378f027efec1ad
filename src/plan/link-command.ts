import { isAbsolute, join } from 'node:path'
import { ShoalError } from '../base/errors.ts'
import { linkArgsPlace } from './codegen.ts'
import type { PlannedAction } from './plan.ts'
import { calledRoots, nameRoots, placeRoots, rootToken } from './roots.ts'
import type { RustcArgs } from './rustc-args.ts'

/** How a linker is run here. */
export interface LinkCommand {
  program: string
  args: string[]
  /** Directories that come before those of PATH. */
  path: string[]
  /** Objects by their number, and where they have to lie. */
  objects: Map<number, string>
  scripts: Map<number, string>
}

export interface LinkPlace {
  planned: PlannedAction
  /** Declared name. */
  output: string
  /** Where the objects are to lie: absolute, and nothing else is in it. */
  dir: string
  /** Where the output is to lie, absolute. */
  out: string
}

const fileToken = '\0file\0/'
const script = '-Wl,--version-script='

/** What rustc writes without naming anything. */
const plain = new Set(
  (
    '-m64 -shared -pie -no-pie -static-pie -static -nodefaultlibs -nostartfiles -rdynamic -fuse-ld=lld ' +
    '-Wl,--as-needed -Wl,--no-as-needed -Wl,-Bstatic -Wl,-Bdynamic -Wl,--whole-archive -Wl,--no-whole-archive ' +
    '-Wl,--start-group -Wl,--end-group -Wl,--push-state -Wl,--pop-state -Wl,--gc-sections -Wl,--no-gc-sections ' +
    '-Wl,--eh-frame-hdr -Wl,--no-undefined-version -Wl,--strip-debug -Wl,--strip-all -Wl,-O1 -Wl,--export-dynamic ' +
    '-Wl,-z,noexecstack -Wl,-z,relro,-z,now -Wl,-z,relro -Wl,-z,now -Wl,-z,norelro -Wl,-znostart-stop-gc ' +
    '-Wl,-z,nostart-stop-gc -Wl,--fix-cortex-a53-843419'
  ).split(' '),
)
const library = /^-l[A-Za-z0-9_][\w+.-]{0,127}$/
const fileName = /^[\w.+-]{1,255}$/

/**
 * The command that makes one linked output, from what a lender says that rustc's linker was told. An argument is taken only
 * when it is of a form that rustc itself writes and names nothing but the lender's own objects, the unit's own dependencies,
 * the toolchain, libraries by name and directories that cargo named; what rustc was told about the linker here takes its place in it.
 * @throws ShoalError ERR_UNSUPPORTED for any other argument: rustc has many that few units bring about; ERR_OUTPUT where no rustc
 *   could have meant this very unit
 */
export function linkCommand(
  given: { args: readonly string[]; files: readonly unknown[] },
  place: LinkPlace,
): LinkCommand {
  return new Reader(given, place).read()
}

class Reader {
  readonly #given: readonly string[]
  readonly #files: number
  readonly #planned: PlannedAction
  readonly #output: string
  readonly #dir: string
  readonly #out: string
  readonly #dependencies: ReadonlyMap<string, string>
  readonly #searched: ReadonlyMap<string, string>
  readonly #objects = new Map<number, string>()
  readonly #scripts = new Map<number, string>()
  readonly #libraries: string
  #at = 0

  constructor(given: { args: readonly string[]; files: readonly unknown[] }, { planned, output, dir, out }: LinkPlace) {
    this.#given = given.args
    this.#files = given.files.length
    this.#planned = planned
    this.#output = output
    this.#dir = dir
    this.#out = out
    this.#dependencies = new Map(planned.dependencies.map(({ name, path }) => [name, path]))
    this.#searched = new Map(searchPaths(planned))
    this.#libraries = `${rootToken('toolchain')}/lib/rustlib/${planned.action.target}`
  }

  read(): LinkCommand {
    const args: string[] = []
    let outputs = 0
    let places = 0
    for (this.#at = 0; this.#at < this.#given.length; this.#at++) {
      const argument = this.#given[this.#at] ?? ''
      if (argument === '-o') {
        outputs += 1
        if (this.#next() !== `${rootToken('out')}/${this.#output}`) throw wrong('another output')
        args.push('-o', join(this.#out, this.#output))
      } else if (argument === linkArgsPlace) {
        places += 1
        args.push(...ownLinkArgs(this.#planned.args))
      } else if (argument === '-L') args.push('-L', this.#searchPath(this.#next()))
      else args.push(this.#one(argument))
    }
    if (outputs !== 1 || places !== 1) throw wrong('not one output and one place for arguments of the user')
    if (this.#objects.size + this.#scripts.size !== this.#files) throw wrong('files without a use')
    return {
      program: this.#planned.args.codegen.get('linker') ?? 'cc',
      args,
      path: toolDirs(this.#planned),
      objects: this.#objects,
      scripts: this.#scripts,
    }
  }

  #next(): string {
    this.#at += 1
    return this.#given[this.#at] ?? ''
  }

  #one(argument: string): string {
    if (plain.has(argument) || library.test(argument)) return argument
    if (argument.startsWith(fileToken)) return this.#file(argument.slice(fileToken.length), this.#objects, 'o')
    if (argument.startsWith(script + fileToken)) {
      return script + this.#file(argument.slice(script.length + fileToken.length), this.#scripts, 'list')
    }
    if (argument === `-Wl,-soname=${this.#output}` && fileName.test(this.#output)) return argument
    if (argument === `-B${this.#libraries}/bin/gcc-ld`) return placeRoots(argument, this.#planned.roots)
    return this.#library(argument)
  }

  #file(number: string, files: Map<number, string>, suffix: string): string {
    const index = /^(0|[1-9]\d{0,4})$/.test(number) ? Number(number) : this.#files
    if (index >= this.#files || this.#objects.has(index) || this.#scripts.has(index)) throw wrong('no such file')
    const path = join(this.#dir, `${index}.${suffix}`)
    files.set(index, path)
    return path
  }

  /** A dependency, whole, from where it lies here; or a library of the toolchain. */
  #library(argument: string): string {
    const deps = `${rootToken('deps')}/`
    if (argument.startsWith(deps)) {
      const name = argument.slice(deps.length)
      const path = this.#dependencies.get(name)
      if (path === undefined || !/\.(rlib|so)$/.test(name)) throw refused(argument)
      return path
    }
    const standard = `${this.#libraries}/lib/`
    const name = argument.startsWith(standard) ? argument.slice(standard.length) : ''
    const { covered } = this.#planned.toolchain
    const path = `lib/rustlib/${this.#planned.action.target}/lib/${name}`
    if (!/^lib[\w-]{1,128}\.(rlib|so)$/.test(name) || !covered.has(path)) throw refused(argument)
    return placeRoots(argument, this.#planned.roots)
  }

  #searchPath(argument: string): string {
    if (argument === `${this.#libraries}/lib`) return placeRoots(argument, this.#planned.roots)
    const path = this.#searched.get(argument)
    if (path === undefined) throw refused(`-L ${argument}`)
    return path
  }
}

/** What cargo asked for: by the name that a lender knows it by, and as it is written here. */
function* searchPaths({ args, roots }: PlannedAction): Generator<[string, string]> {
  for (const { name, value } of args.options) {
    if (name !== 'L' || value === undefined || value.startsWith('dependency=')) continue
    const path = value.replace(/^(native|all|crate|framework)=/, '')
    yield [nameRoots(path, calledRoots(roots)), path]
  }
}

/** What the user's own configuration tells the linker, in rustc's order. */
function ownLinkArgs({ options }: RustcArgs): string[] {
  return options.flatMap(({ name, value = '' }) => {
    if (name !== 'C') return []
    if (value.startsWith('link-arg=')) return [value.slice('link-arg='.length)]
    if (value.startsWith('link-args=')) return value.slice('link-args='.length).split(/\s+/).filter(Boolean)
    return []
  })
}

/** Where rustc has the linker look for programs first. */
function toolDirs({ toolchain }: PlannedAction): string[] {
  const bin = join(toolchain.sysroot, 'lib/rustlib', toolchain.host, 'bin')
  return isAbsolute(bin) ? [bin, join(bin, 'self-contained')] : []
}

const wrong = (what: string): ShoalError => new ShoalError('ERR_OUTPUT', `arguments for a linker: ${what}`)

const refused = (what: string): ShoalError =>
  new ShoalError('ERR_UNSUPPORTED', `a linker is not told this here: ${what.replaceAll('\0', '%').slice(0, 200)}`)
