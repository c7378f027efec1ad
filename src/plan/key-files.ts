import { readFileSync, realpathSync, statSync } from 'node:fs'
import { codeOf } from '../base/errors.ts'

/** Of these the content is a secret, and of what is made from one that is said to hold it. */
const keyFile = new RegExp(
  `(^|/)(${[
    'id_(rsa|dsa|ecdsa|ed25519)([-_][^/.]*)?',
    String.raw`\.env(\.(?!example|sample|template)[^/]*)?`,
    String.raw`(?!(?:example|sample|template|default)\.)[^/]+\.env`,
    String.raw`\.(netrc|npmrc|pypirc|pgpass|git-credentials)`,
    String.raw`\.(ssh|aws|gnupg|kube|docker|azure)/.*`,
    String.raw`[^/]+\.(pem|key|p8|p12|pfx|ppk|jks|jceks|keystore|keytab|kdbx|ovpn|tfplan|tfstate(\.[^/]*)?|tfvars(\.json)?)`,
    String.raw`([^/]*[-_.])?kubeconfig([-_.][^/]*)?(?<!\.(rs|md))`,
    // As their makers call them: Google's `client_secret_12-ab.apps.googleusercontent.com.json`, shuttle's `Secrets.dev.toml`.
    String.raw`([^/]*[-_.])?(secrets?|credentials?)([-_.](?!example|sample|template|schema)[^/.]*)?\.(json|ya?ml|toml|ron|ini|properties|csv)`,
    String.raw`client[-_]secret[^/]*\.json`,
    String.raw`[^/]*(service[-_]account[^/]*|firebase-adminsdk[^/]*|-[0-9a-f]{12})\.json`,
    String.raw`[^/]*accessKeys\.csv`,
    String.raw`(wg\d+|rclone)\.conf`,
  ].join('|')})(.(bak|old|orig|backup)|~)?$`,
  'i',
)

/** Whether a file of that name in a package is taken for one that holds keys, whatever is in it. */
export const isNamedLikeKey = (name: string): boolean => keyFile.test(name)

const everybodys = /^(\0(registry|toolchain)\0|\/usr\/|\/nix\/store\/|\/etc\/ssl\/(certs\/|cert\.pem$))/

/**
 * Whether a file is one that holds keys: by what it is called, or what is called so that it is a link to, but that certificates alone are none.
 * @param name its path with roots by name: what comes from a registry or with the system is everybody's
 * @param path where it lies; undefined when that is not known
 */
export function isKeyFile(name: string, path: string | undefined): boolean {
  if (everybodys.test(name)) return false
  const isCalledSo = keyFile.test(name)
  if (path === undefined) return isCalledSo
  const called = isCalledSo ? name : linkedFrom(path)
  return called !== undefined && keyFile.test(called) && !(/\.pem$/i.test(called) && isPublic(path))
}

/** What a file is called where it lies, if the way there leads through a link; undefined when it does not, or to nothing. */
function linkedFrom(path: string): string | undefined {
  try {
    const real = realpathSync.native(path)
    return real === path || everybodys.test(real) ? undefined : real
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}

/** What is longer has more in it than certificates. */
const maxBytes = 1 << 20
const section = /-----BEGIN ([^\n-]*)-----/g
const publicSection = /^(TRUSTED |X509 )?(CERTIFICATE( REQUEST)?|CRL)$|^(RSA |EC )?PUBLIC KEY$/

function isPublic(path: string): boolean {
  const text = textAt(path) ?? ''
  const sections = [...text.matchAll(section)].map(([, label = '']) => label)
  return sections.length > 0 && sections.every((label) => publicSection.test(label)) && !/PRIVATE/.test(text)
}

/** Undefined when it cannot be read, or is too long. */
function textAt(path: string): string | undefined {
  try {
    const stat = statSync(path)
    return stat.isFile() && stat.size <= maxBytes ? readFileSync(path, 'latin1') : undefined
  } catch (error) {
    if (codeOf(error) === undefined) throw error
    return undefined
  }
}
