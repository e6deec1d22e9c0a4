"""Make every model and data set that ships: ``python -m datasets [--quick] [--folder FOLDER]``."""

from . import (
    make_clinics,
    make_digit_models,
    make_sign_ensemble,
    make_sign_models,
    make_sign_variants,
    make_table_models,
    make_tables,
)

if __name__ == "__main__":
    make_digit_models.main()
    make_sign_models.main()
    make_sign_ensemble.main()
    make_sign_variants.main()  # after signs-cnn, of which some are made
    make_clinics.main()
    make_tables.main()  # before the models, which are judged on them
    make_table_models.main()
