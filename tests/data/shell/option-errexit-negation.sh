set -e
! false
! true
echo here
