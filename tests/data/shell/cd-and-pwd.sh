mkdir -p d/e
cd d
basename "$PWD"
cd e && basename "$(pwd)"
cd ..
basename "$PWD"
cd - > /dev/null
basename "$PWD"
