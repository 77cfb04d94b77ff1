#!/usr/bin/env bash
# Builds what packagers ship, from the sources alone: the binary, its manual pages and its completions,
# in dist/ and as one archive. Arguments go to cargo, such as --no-default-features --features render.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --release --locked "$@"
binary="${CARGO_TARGET_DIR:-target}/release/aida"
version=$("$binary" --version | cut -d ' ' -f 2)
name="aida-$version-$(uname -m)-$(uname -s | tr '[:upper:]' '[:lower:]')"
root="dist/$name"

rm -rf "$root"
mkdir -p "$root/bin" "$root/share/man/man1" "$root/share/bash-completion/completions" \
    "$root/share/zsh/site-functions" "$root/share/fish/vendor_completions.d" "$root/share/doc/aida"
install -m 755 "$binary" "$root/bin/aida"
"$binary" man --dir "$root/share/man/man1" >/dev/null
"$binary" completions bash >"$root/share/bash-completion/completions/aida"
"$binary" completions zsh >"$root/share/zsh/site-functions/_aida"
"$binary" completions fish >"$root/share/fish/vendor_completions.d/aida.fish"
install -m 644 README.md config.example.toml LICENSE-MIT LICENSE-APACHE "$root/share/doc/aida/"
tar -C dist -czf "dist/$name.tar.gz" "$name"
echo "dist/$name.tar.gz"
